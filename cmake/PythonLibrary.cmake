# libjaxmg_cpu.so: what the Python package loads. No BLAS in it (the package hands SciPy's over at
# run time) and no C++ runtime to depend on, so that one file serves older systems as well.

add_library(jaxmg_cpu MODULE ${jaxmg_ffi_sources})
target_link_libraries(jaxmg_cpu PRIVATE jaxmg_objects)
target_include_directories(jaxmg_cpu SYSTEM PRIVATE ${PROJECT_SOURCE_DIR}/third_party/xla_ffi)
set(jaxmg_exports ${PROJECT_SOURCE_DIR}/ffi/exports.map)
set_target_properties(
    jaxmg_cpu
    PROPERTIES
        # XLA's macros declare the handlers without a visibility; exports.map decides instead.
        CXX_VISIBILITY_PRESET default
        LINK_DEPENDS ${jaxmg_exports}
)
target_link_options(jaxmg_cpu PRIVATE LINKER:--version-script=${jaxmg_exports})
if(NOT JAXMG_SANITIZE)
    target_link_options(jaxmg_cpu PRIVATE -static-libstdc++ -static-libgcc LINKER:-z,defs)
endif()

# What a wheel holds; the CUDA engine joins where it is built.
add_custom_target(jaxmg_python DEPENDS jaxmg_cpu)

install(TARGETS jaxmg_cpu LIBRARY DESTINATION jaxmg/_lib COMPONENT python EXCLUDE_FROM_ALL)

if(NOT jaxmg_with_cuda)
    return()
endif()

# libjaxmg_cu13.so: the CUDA engine and its handlers. cuBLAS and cuSOLVER are not bundled: they are
# found where JAX's own nvidia wheels have them, beside the package, or on the system.
file(GLOB jaxmg_cuda_ffi_sources CONFIGURE_DEPENDS ffi/cuda/*.cpp)
add_library(jaxmg_cu13 MODULE ${jaxmg_cuda_ffi_sources} ${jaxmg_ffi_common_sources})
set_target_properties(
    jaxmg_cu13
    PROPERTIES
        LINKER_LANGUAGE CXX
        BUILD_RPATH "$ORIGIN/../../nvidia/cu13/lib"
        INSTALL_RPATH "$ORIGIN/../../nvidia/cu13/lib"
        CXX_VISIBILITY_PRESET default
        LINK_DEPENDS ${jaxmg_exports}
)
target_include_directories(jaxmg_cu13 PRIVATE ${PROJECT_SOURCE_DIR}/ffi)
target_include_directories(jaxmg_cu13 SYSTEM PRIVATE ${PROJECT_SOURCE_DIR}/third_party/xla_ffi)
target_link_libraries(jaxmg_cu13 PRIVATE jaxmg_objects jaxmg_cuda_objects)
target_link_options(
    jaxmg_cu13
    PRIVATE -static-libstdc++ -static-libgcc LINKER:--version-script=${jaxmg_exports}
)
add_dependencies(jaxmg_python jaxmg_cu13)

install(TARGETS jaxmg_cu13 LIBRARY DESTINATION jaxmg/_lib COMPONENT python EXCLUDE_FROM_ALL)
