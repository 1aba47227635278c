# libjaxmg_cu13.so: the CUDA engine and its handlers, for CUDA 13. Included where it is wanted and an
# nvcc was found. cuBLAS and cuSOLVER are not bundled: they are found where JAX's own nvidia wheels
# have them, beside the package, or on the system.
enable_language(CUDA)
# The libraries of this nvcc's own toolkit, not those that the system has in /usr/local/lib. NVIDIA's
# wheels have libcublas.so.13, but no libcublas.so. (librt is the system's.)
find_library(CUDAToolkit_rt_LIBRARY rt)
block()
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
file(GLOB jaxmg_cuda_ffi_sources CONFIGURE_DEPENDS ffi/cuda/*.cpp)

add_library(
    jaxmg_cu13
    MODULE
    ${jaxmg_cuda_sources}
    ${jaxmg_cuda_ffi_sources}
    ${jaxmg_ffi_common_sources}
)
set_target_properties(
    jaxmg_cu13
    PROPERTIES
        CUDA_STANDARD 20
        CUDA_ARCHITECTURES "${JAXMG_CUDA_ARCHITECTURES}"
        CUDA_RUNTIME_LIBRARY Static
        BUILD_RPATH "$ORIGIN/../../nvidia/cu13/lib"
        INSTALL_RPATH "$ORIGIN/../../nvidia/cu13/lib"
        CXX_VISIBILITY_PRESET default
)
# A view of const elements has a conversion to itself, which is never used.
target_compile_options(
    jaxmg_cu13
    PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--extended-lambda -diag-suppress=554>
)
target_include_directories(jaxmg_cu13 PRIVATE ${PROJECT_SOURCE_DIR}/ffi)
target_include_directories(jaxmg_cu13 SYSTEM PRIVATE ${PROJECT_SOURCE_DIR}/third_party/xla_ffi)
target_link_libraries(
    jaxmg_cu13
    PRIVATE jaxmg_objects CUDA::cudart_static CUDA::cublas CUDA::cusolver
)
target_link_options(
    jaxmg_cu13
    PRIVATE
        -static-libstdc++
        -static-libgcc
        LINKER:--version-script=${PROJECT_SOURCE_DIR}/ffi/exports.map
)
add_dependencies(jaxmg_python jaxmg_cu13)

install(TARGETS jaxmg_cu13 LIBRARY DESTINATION jaxmg/_lib COMPONENT python EXCLUDE_FROM_ALL)
