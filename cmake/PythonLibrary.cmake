# What the Python package loads: libjaxmg_cpu, and libjaxmg_cu12 and libjaxmg_cu13 where those engines
# are built. No BLAS in them (the package hands SciPy's over at run time) and no C++ library to depend
# on, so that one file serves older systems as well; what of that library nobody uses is left out, since
# it would ask for the newest C library. cuBLAS and cuSOLVER are not bundled: the package loads them from
# where JAX's own nvidia wheels have them, or from the system. So there is no path in these libraries.
#
# Each is built twice from the same objects, since ffi/ is compiled against two versions of XLA's
# headers: see third_party/xla_ffi/README.md.

set(jaxmg_ffi_versions 0.1 0.5)
set(jaxmg_exports ${PROJECT_SOURCE_DIR}/ffi/exports.map)
file(GLOB jaxmg_cuda_ffi_sources CONFIGURE_DEPENDS ffi/cuda/*.cpp)

# What a wheel holds.
add_custom_target(jaxmg_python)

# jaxmg_add_python_library(NAME VERSION SOURCES OBJECTS...): lib<NAME>-ffi<VERSION>.so
function(jaxmg_add_python_library name version sources)
    set(library ${name}_ffi${version})
    add_library(${library} MODULE ${sources})
    set_target_properties(
        ${library}
        PROPERTIES
            OUTPUT_NAME ${name}-ffi${version}
            LINKER_LANGUAGE CXX
            SKIP_BUILD_RPATH ON
            # XLA's macros declare the handlers without a visibility; exports.map decides instead.
            CXX_VISIBILITY_PRESET default
            LINK_DEPENDS ${jaxmg_exports}
    )
    target_include_directories(${library} PRIVATE ${PROJECT_SOURCE_DIR}/ffi)
    target_include_directories(
        ${library}
        SYSTEM
        PRIVATE ${PROJECT_SOURCE_DIR}/third_party/xla_ffi/${version}
    )
    target_link_libraries(${library} PRIVATE ${ARGN})
    target_link_options(
        ${library}
        PRIVATE LINKER:--version-script=${jaxmg_exports} LINKER:--gc-sections
    )
    if(NOT JAXMG_SANITIZE)
        target_link_options(${library} PRIVATE -static-libstdc++ LINKER:-z,defs)
    endif()
    add_dependencies(jaxmg_python ${library})
    install(TARGETS ${library} LIBRARY DESTINATION jaxmg/_lib COMPONENT python EXCLUDE_FROM_ALL)
endfunction()

foreach(version IN LISTS jaxmg_ffi_versions)
    jaxmg_add_python_library(jaxmg_cpu ${version} "${jaxmg_ffi_sources}" jaxmg_objects)
    foreach(major IN LISTS jaxmg_cuda_majors)
        jaxmg_add_python_library(
            jaxmg_cu${major}
            ${version}
            "${jaxmg_cuda_ffi_sources};${jaxmg_ffi_common_sources}"
            jaxmg_objects
            jaxmg_cuda${major}_objects
        )
    endforeach()
endforeach()
