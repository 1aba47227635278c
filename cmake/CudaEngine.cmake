# jaxmg_add_cuda_engine(MAJOR): the CUDA engine for CUDA 12 or 13, jaxmg_cuda<MAJOR>_objects: part of
# libjaxmg_cu<MAJOR>.so, and, for the newest, of the C++ library and of its tests. One text for both:
# the host's side is C++ for the host's compiler, the kernels are compiled by NVRTC, to code for each
# of JAXMG_CUDA_ARCHITECTURES, and embedded.

set(JAXMG_CUDA_ARCHITECTURES
    "80;90-real;100-real;120"
    CACHE STRING
    "What the kernels are compiled for; without -real also to PTX, for devices to come"
)

set(jaxmg_cuda_dir ${PROJECT_SOURCE_DIR}/src/device/cuda)
file(
    GLOB jaxmg_cuda_sources
    CONFIGURE_DEPENDS
    ${jaxmg_cuda_dir}/*.cpp
    ${jaxmg_cuda_dir}/kernels/*.cpp
    ${PROJECT_SOURCE_DIR}/src/engines/cusolvermg/*.cpp
    ${PROJECT_SOURCE_DIR}/src/team/cuda/*.cpp
)
# Every file of kernels, and all that they may include.
file(GLOB jaxmg_kernel_files CONFIGURE_DEPENDS ${jaxmg_cuda_dir}/kernels/*.cu)
file(
    GLOB jaxmg_kernel_headers
    CONFIGURE_DEPENDS
    ${jaxmg_cuda_dir}/kernels/*.cuh
    ${jaxmg_cuda_dir}/kernels/*.hpp
    ${jaxmg_cuda_dir}/nvrtc/include/*
    ${PROJECT_SOURCE_DIR}/src/device/*.hpp
    ${PROJECT_SOURCE_DIR}/src/distribution/tiled_rows.hpp
    ${PROJECT_SOURCE_DIR}/include/jaxmg/*.hpp
)

function(jaxmg_add_cuda_engine major)
    set(compiler jaxmg_compile_kernels_${major})
    add_executable(${compiler} ${jaxmg_cuda_dir}/nvrtc/compile_kernels.cpp)
    target_include_directories(
        ${compiler}
        SYSTEM
        PRIVATE $<TARGET_PROPERTY:jaxmg_cuda_toolkit_${major},INTERFACE_INCLUDE_DIRECTORIES>
    )
    target_link_libraries(${compiler} PRIVATE ${JaxmgCuda${major}_NVRTC})

    set(generated ${PROJECT_BINARY_DIR}/generated/cuda${major})
    file(MAKE_DIRECTORY ${generated}/kernels)
    set(includes
        ${jaxmg_cuda_dir}/nvrtc/include
        ${PROJECT_SOURCE_DIR}/include
        ${PROJECT_SOURCE_DIR}/src
        ${JaxmgCuda${major}_DEVICE_INCLUDES}
    )
    list(TRANSFORM includes PREPEND --include-path=)
    set(embedded "")
    foreach(file IN LISTS jaxmg_kernel_files)
        cmake_path(GET file STEM name)
        set(base ${generated}/kernels/${name})
        add_custom_command(
            OUTPUT ${base}.cpp ${base}.hpp ${base}.bin
            # A view of const elements has a conversion to itself, which is never used (warning 554).
            COMMAND
                ${compiler} ${file} ${generated}/kernels "${JAXMG_CUDA_ARCHITECTURES}" --std=c++20
                --device-as-default-execution-space --diag-suppress=554 ${includes}
            DEPENDS ${compiler} ${file} ${jaxmg_kernel_headers}
            COMMENT "Compiling kernels for CUDA ${major}: ${name}"
            VERBATIM
        )
        set_property(SOURCE ${base}.cpp APPEND PROPERTY OBJECT_DEPENDS ${base}.bin)
        list(APPEND embedded ${base}.cpp ${base}.hpp)
    endforeach()

    set(objects jaxmg_cuda${major}_objects)
    add_library(${objects} OBJECT ${jaxmg_cuda_sources} ${embedded})
    target_compile_definitions(${objects} INTERFACE JAXMG_WITH_CUDA)
    target_include_directories(
        ${objects}
        PUBLIC ${generated}
        PRIVATE $<TARGET_PROPERTY:jaxmg_objects,INTERFACE_INCLUDE_DIRECTORIES>
    )
    target_link_libraries(${objects} PUBLIC jaxmg_cuda_toolkit_${major})
endfunction()
