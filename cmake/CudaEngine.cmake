# The CUDA engine, compiled once for CUDA 13: part of libjaxmg_cu13.so, of the C++ library and of its
# tests. Included where it is wanted and an nvcc was found.
enable_language(CUDA)
# The libraries of this nvcc's own toolkit, not those that the system has in /usr/local/lib. NVIDIA's
# wheels have libcublas.so.13, but no libcublas.so. (librt is the system's.)
find_library(CUDAToolkit_rt_LIBRARY rt)
block(PROPAGATE CUDAToolkit_LIBRARY_DIR)
    set(CMAKE_FIND_USE_CMAKE_SYSTEM_PATH OFF)
    set(CMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH OFF)
    list(APPEND CMAKE_FIND_LIBRARY_SUFFIXES .so.13 .so.12)
    find_package(CUDAToolkit 13 REQUIRED)
    find_library(CUDA_cusolverMg_LIBRARY cusolverMg HINTS ${CUDAToolkit_LIBRARY_DIR})
endblock()

set(JAXMG_CUDA_ARCHITECTURES
    "80-real;90-real;100-real;120"
    CACHE STRING
    "What the kernels are compiled for; the last one also as PTX, for devices to come"
)

file(GLOB jaxmg_cuda_sources CONFIGURE_DEPENDS src/device/cuda/*.cpp src/device/cuda/*.cu)
add_library(jaxmg_cuda_objects OBJECT ${jaxmg_cuda_sources})
set_target_properties(
    jaxmg_cuda_objects
    PROPERTIES
        CUDA_STANDARD 20
        CUDA_ARCHITECTURES "${JAXMG_CUDA_ARCHITECTURES}"
        CUDA_RUNTIME_LIBRARY Static
        CUDA_VISIBILITY_PRESET hidden
)
# A view of const elements has a conversion to itself, which is never used.
target_compile_options(
    jaxmg_cuda_objects
    PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--extended-lambda -diag-suppress=554>
)
target_compile_definitions(jaxmg_cuda_objects INTERFACE JAXMG_WITH_CUDA)
target_include_directories(
    jaxmg_cuda_objects
    PRIVATE $<TARGET_PROPERTY:jaxmg_objects,INTERFACE_INCLUDE_DIRECTORIES>
)
target_link_libraries(
    jaxmg_cuda_objects
    PUBLIC CUDA::cudart_static CUDA::cublas CUDA::cublasLt CUDA::cusolver
)
# The runtime within is nobody else's: a program may have one of its own.
target_link_options(jaxmg_cuda_objects INTERFACE LINKER:--exclude-libs,libcudart_static.a)
