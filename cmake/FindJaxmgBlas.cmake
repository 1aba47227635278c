# The BLAS and LAPACK (32-bit integers) that C++ programs are linked to. The Python package does not
# need one: it takes SciPy's. In this order:
#   1. JAXMG_BLAS: one library with both, as a file or a name such as "openblas"; JAXMG_BLAS_PREFIX is
#      the prefix of its symbols, if they have one
#   2. the scipy-openblas32 wheel in .venv
#   3. find_package(LAPACK)
# Defines the target JaxmgBlas::JaxmgBlas and sets
#   JaxmgBlas_FOUND, JaxmgBlas_PREFIX ("scipy_" or ""), JaxmgBlas_NAME (for people) and
#   JaxmgBlas_RPATH (its folder, if programs would not find it by themselves).

set(JAXMG_BLAS "" CACHE STRING "BLAS and LAPACK for C++ programs: a library file or name")
set(JAXMG_BLAS_PREFIX "" CACHE STRING "Prefix of the symbols in JAXMG_BLAS")
set(JAXMG_PYTHON
    "${PROJECT_SOURCE_DIR}/.venv/bin/python"
    CACHE FILEPATH
    "Python whose scipy-openblas32 is used where JAXMG_BLAS is not set"
)

# Gives the file, the prefix and the name of scipy-openblas32, or leaves all three unset.
function(jaxmg_find_scipy_openblas file prefix name)
    if(NOT EXISTS "${JAXMG_PYTHON}")
        return()
    endif()
    set(ask
        "import scipy_openblas32 as blas"
        "print(blas.get_lib_dir(), blas.get_library(), blas.__version__, sep='|')"
    )
    list(JOIN ask "\n" ask)
    execute_process(
        COMMAND ${JAXMG_PYTHON} -c "${ask}"
        OUTPUT_VARIABLE answer
        OUTPUT_STRIP_TRAILING_WHITESPACE
        ERROR_QUIET
        RESULT_VARIABLE result
    )
    if(result EQUAL 0 AND answer MATCHES "^(.*)\\|(.*)\\|(.*)$")
        set(library
            "${CMAKE_MATCH_1}/${CMAKE_SHARED_LIBRARY_PREFIX}${CMAKE_MATCH_2}${CMAKE_SHARED_LIBRARY_SUFFIX}"
        )
        if(EXISTS "${library}")
            set(${file} "${library}" PARENT_SCOPE)
            set(${prefix} "scipy_" PARENT_SCOPE)
            set(${name} "scipy-openblas32 ${CMAKE_MATCH_3}" PARENT_SCOPE)
        endif()
    endif()
endfunction()

function(jaxmg_import_blas file)
    if(NOT TARGET JaxmgBlas::JaxmgBlas)
        add_library(JaxmgBlas::JaxmgBlas UNKNOWN IMPORTED)
        set_target_properties(JaxmgBlas::JaxmgBlas PROPERTIES IMPORTED_LOCATION "${file}")
    endif()
endfunction()

unset(JaxmgBlas_NAME)
unset(JaxmgBlas_PREFIX)
unset(JaxmgBlas_RPATH)
unset(jaxmg_blas_file)

if(JAXMG_BLAS)
    if(EXISTS "${JAXMG_BLAS}")
        get_filename_component(jaxmg_blas_file "${JAXMG_BLAS}" ABSOLUTE)
    else()
        find_library(jaxmg_blas_by_name NAMES ${JAXMG_BLAS} NO_CACHE)
        if(NOT jaxmg_blas_by_name)
            message(FATAL_ERROR "JAXMG_BLAS: there is no library file or name '${JAXMG_BLAS}'")
        endif()
        set(jaxmg_blas_file "${jaxmg_blas_by_name}")
    endif()
    set(JaxmgBlas_PREFIX "${JAXMG_BLAS_PREFIX}")
    if(NOT JaxmgBlas_PREFIX AND jaxmg_blas_file MATCHES "libscipy_openblas")
        set(JaxmgBlas_PREFIX "scipy_")
    endif()
    set(JaxmgBlas_NAME "${jaxmg_blas_file}")
    jaxmg_import_blas("${jaxmg_blas_file}")
else()
    jaxmg_find_scipy_openblas(jaxmg_blas_file JaxmgBlas_PREFIX JaxmgBlas_NAME)
    if(jaxmg_blas_file)
        jaxmg_import_blas("${jaxmg_blas_file}")
    else()
        find_package(LAPACK QUIET)
        if(LAPACK_FOUND)
            list(GET LAPACK_LIBRARIES 0 jaxmg_blas_file)
            get_filename_component(jaxmg_blas_file "${jaxmg_blas_file}" REALPATH)
            set(JaxmgBlas_PREFIX "")
            set(JaxmgBlas_NAME "${jaxmg_blas_file}")
            if(NOT TARGET JaxmgBlas::JaxmgBlas)
                add_library(JaxmgBlas::JaxmgBlas INTERFACE IMPORTED)
                set_target_properties(
                    JaxmgBlas::JaxmgBlas
                    PROPERTIES INTERFACE_LINK_LIBRARIES LAPACK::LAPACK
                )
            endif()
            if(jaxmg_blas_file MATCHES "/lapack/|/blas/|liblapack\\.so")
                message(
                    WARNING
                    "jaxmg: ${jaxmg_blas_file} looks like the reference LAPACK, which is slow; "
                    "install OpenBLAS or set JAXMG_BLAS"
                )
            endif()
        endif()
    endif()
endif()

if(jaxmg_blas_file)
    get_filename_component(jaxmg_blas_dir "${jaxmg_blas_file}" DIRECTORY)
    if(NOT jaxmg_blas_dir IN_LIST CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES)
        set(JaxmgBlas_RPATH "${jaxmg_blas_dir}")
    endif()
endif()

include(FindPackageHandleStandardArgs)
set(FPHSA_NAME_MISMATCHED ON)
find_package_handle_standard_args(JaxmgBlas REQUIRED_VARS JaxmgBlas_NAME)
unset(FPHSA_NAME_MISMATCHED)
