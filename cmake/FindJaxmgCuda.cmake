# jaxmg_find_cuda(MAJOR): the parts of CUDA 12 or 13 that the CUDA engine is built with, from a
# toolkit or from NVIDIA's wheels: headers, the static runtime, cuBLAS, cuSOLVER, and NVRTC with
# libcu++ for the kernels. No nvcc. The first place that has this major version is taken:
#   1. JAXMG_CUDA<MAJOR>_ROOT, a toolkit or the folder `nvidia` of some site-packages
#   2. .venv-cuda in the source tree (`make cuda`), and the Python that builds a wheel
#   3. CUDA_PATH, the toolkit of the nvcc on PATH, /usr/local/cuda-<MAJOR>*, /usr/local/cuda, /usr
# Defines the target jaxmg_cuda_toolkit_<MAJOR> and sets in the caller's scope
#   JaxmgCuda<MAJOR>_FOUND, JaxmgCuda<MAJOR>_MISSING (for people), JaxmgCuda<MAJOR>_PLACE,
#   JaxmgCuda<MAJOR>_LIBRARY_DIRS, JaxmgCuda<MAJOR>_DEVICE_INCLUDES (for NVRTC),
#   JaxmgCuda<MAJOR>_NVRTC, and JaxmgCuda<MAJOR>_CUSOLVER_MG (or -NOTFOUND).

set(JAXMG_CUDA12_ROOT "" CACHE PATH "CUDA 12: a toolkit, or the folder `nvidia` of a site-packages")
set(JAXMG_CUDA13_ROOT "" CACHE PATH "CUDA 13: a toolkit, or the folder `nvidia` of a site-packages")

# Of the libraries of CUDA 12 and 13: their sonames' versions.
set(jaxmg_cublas_version_12 12)
set(jaxmg_cublas_version_13 13)
set(jaxmg_cusolver_version_12 11)
set(jaxmg_cusolver_version_13 12)

# Where CUDA may be.
function(jaxmg_cuda_places major result)
    if(JAXMG_CUDA${major}_ROOT)
        set(${result} "${JAXMG_CUDA${major}_ROOT}" PARENT_SCOPE)
        return()
    endif()
    file(GLOB places ${PROJECT_SOURCE_DIR}/.venv-cuda/lib/python3*/site-packages/nvidia)
    if(Python_EXECUTABLE)
        execute_process(
            COMMAND ${Python_EXECUTABLE} -c "import nvidia; print(*nvidia.__path__, sep=';')"
            OUTPUT_VARIABLE wheels
            OUTPUT_STRIP_TRAILING_WHITESPACE
            ERROR_QUIET
        )
        list(APPEND places ${wheels})
    endif()
    list(APPEND places $ENV{CUDA_PATH})
    find_program(JAXMG_NVCC nvcc)
    mark_as_advanced(JAXMG_NVCC)
    if(JAXMG_NVCC)
        file(REAL_PATH "${JAXMG_NVCC}" nvcc)
        cmake_path(GET nvcc PARENT_PATH bin)
        cmake_path(GET bin PARENT_PATH toolkit)
        list(APPEND places "${toolkit}")
    endif()
    file(GLOB toolkits /usr/local/cuda-${major}*)
    set(${result} ${places} ${toolkits} /usr/local/cuda /usr PARENT_SCOPE)
endfunction()

# The folder below `place` with cuda_runtime_api.h of this major version.
function(jaxmg_cuda_headers place major result)
    set(${result} "" PARENT_SCOPE)
    foreach(folder IN ITEMS include cu${major}/include cuda_runtime/include)
        set(header "${place}/${folder}/cuda_runtime_api.h")
        if(EXISTS "${header}")
            file(STRINGS "${header}" version REGEX "#define CUDART_VERSION +${major}0[0-9]+")
            if(version)
                set(${result} "${place}/${folder}" PARENT_SCOPE)
                return()
            endif()
        endif()
    endforeach()
endfunction()

function(jaxmg_find_cuda major)
    set(found JaxmgCuda${major})
    set(${found}_FOUND OFF PARENT_SCOPE)
    jaxmg_cuda_places(${major} places)
    foreach(place IN LISTS places)
        jaxmg_cuda_headers("${place}" ${major} runtime)
        if(runtime)
            set(chosen "${place}")
            break()
        endif()
    endforeach()
    if(NOT runtime)
        set(${found}_MISSING "cuda_runtime_api.h of CUDA ${major}" PARENT_SCOPE)
        return()
    endif()

    cmake_path(GET runtime PARENT_PATH root)
    if(runtime MATCHES "/cuda_runtime/include$")
        # NVIDIA's wheels for CUDA 12: each part has a folder of its own, and CUDA 13 has one for all.
        cmake_path(GET root PARENT_PATH wheels)
        file(GLOB header_folders ${wheels}/*/include)
        file(GLOB library_folders ${wheels}/*/lib)
        list(FILTER header_folders EXCLUDE REGEX "/cu13/")
        list(FILTER library_folders EXCLUDE REGEX "/cu13/")
    else()
        set(header_folders ${runtime} ${runtime}/cccl)
        set(library_folders
            ${root}/lib64
            ${root}/lib
            ${root}/targets/${CMAKE_SYSTEM_PROCESSOR}-linux/lib
            ${root}/lib/${CMAKE_LIBRARY_ARCHITECTURE}
        )
    endif()

    set(missing "")
    set(headers "")
    foreach(
        header
        IN
        ITEMS
            cuda.h
            cuda_runtime_api.h
            crt/host_defines.h
            cublasLt.h
            cusolverDn.h
            nvrtc.h
            cuda/std/complex
    )
        find_path(folder ${header} PATHS ${header_folders} NO_DEFAULT_PATH NO_CACHE)
        if(NOT folder)
            list(APPEND missing ${header})
        endif()
        list(APPEND headers ${folder})
        set(folder_of_${header} ${folder})
        unset(folder)
    endforeach()
    list(REMOVE_DUPLICATES headers)

    set(libraries "")
    foreach(
        library
        IN
        ITEMS
            libcudart_static.a
            libcublas.so.${jaxmg_cublas_version_${major}}
            libcublasLt.so.${jaxmg_cublas_version_${major}}
            libcusolver.so.${jaxmg_cusolver_version_${major}}
            libnvrtc.so.${major}
    )
        find_library(file ${library} PATHS ${library_folders} NO_DEFAULT_PATH NO_CACHE)
        if(NOT file)
            list(APPEND missing ${library})
        endif()
        list(APPEND libraries "${file}")
        unset(file)
    endforeach()
    find_library(
        cusolver_mg
        libcusolverMg.so.${jaxmg_cusolver_version_${major}}
        PATHS ${library_folders}
        NO_DEFAULT_PATH
        NO_CACHE
    )

    set(${found}_PLACE "${chosen}" PARENT_SCOPE)
    if(missing)
        list(JOIN missing ", " missing)
        set(${found}_MISSING "${missing} in ${chosen}" PARENT_SCOPE)
        return()
    endif()
    list(POP_BACK libraries nvrtc)
    set(library_dirs "")
    foreach(library IN LISTS libraries)
        cmake_path(GET library PARENT_PATH folder)
        list(APPEND library_dirs "${folder}")
    endforeach()
    list(REMOVE_DUPLICATES library_dirs)

    add_library(jaxmg_cuda_toolkit_${major} INTERFACE)
    target_include_directories(jaxmg_cuda_toolkit_${major} SYSTEM INTERFACE ${headers})
    target_link_libraries(
        jaxmg_cuda_toolkit_${major}
        INTERFACE ${libraries} Threads::Threads ${CMAKE_DL_LIBS} rt
    )
    # The runtime within is nobody else's: a program may have one of its own.
    target_link_options(
        jaxmg_cuda_toolkit_${major}
        INTERFACE LINKER:--exclude-libs,libcudart_static.a
    )
    set(${found}_FOUND ON PARENT_SCOPE)
    set(${found}_LIBRARY_DIRS "${library_dirs}" PARENT_SCOPE)
    set(${found}_DEVICE_INCLUDES
        "${folder_of_cuda/std/complex};${folder_of_cuda_runtime_api.h}"
        PARENT_SCOPE
    )
    set(${found}_NVRTC "${nvrtc}" PARENT_SCOPE)
    set(${found}_CUSOLVER_MG "${cusolver_mg}" PARENT_SCOPE)
endfunction()
