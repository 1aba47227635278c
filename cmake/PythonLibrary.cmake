# libjaxmg_cpu.so: what the Python package loads. No BLAS in it (the package hands SciPy's over at
# run time) and no C++ library to depend on, so that one file serves older systems as well; what of that
# library nobody uses is left out, since it would ask for the newest C library.

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
target_link_options(jaxmg_cpu PRIVATE LINKER:--version-script=${jaxmg_exports} LINKER:--gc-sections)
if(NOT JAXMG_SANITIZE)
    target_link_options(jaxmg_cpu PRIVATE -static-libstdc++ LINKER:-z,defs)
endif()

# What a wheel holds; the CUDA engine joins where it is built.
add_custom_target(jaxmg_python DEPENDS jaxmg_cpu)

install(TARGETS jaxmg_cpu LIBRARY DESTINATION jaxmg/_lib COMPONENT python EXCLUDE_FROM_ALL)

# libjaxmg_cu12.so and libjaxmg_cu13.so: the CUDA engine and its handlers. cuBLAS and cuSOLVER are not
# bundled: the package loads them from where JAX's own nvidia wheels have them, or from the system. So
# there is no path in these libraries.
file(GLOB jaxmg_cuda_ffi_sources CONFIGURE_DEPENDS ffi/cuda/*.cpp)
foreach(major IN LISTS jaxmg_cuda_majors)
    set(library jaxmg_cu${major})
    add_library(${library} MODULE ${jaxmg_cuda_ffi_sources} ${jaxmg_ffi_common_sources})
    set_target_properties(
        ${library}
        PROPERTIES
            LINKER_LANGUAGE CXX
            SKIP_BUILD_RPATH ON
            CXX_VISIBILITY_PRESET default
            LINK_DEPENDS ${jaxmg_exports}
    )
    target_include_directories(${library} PRIVATE ${PROJECT_SOURCE_DIR}/ffi)
    target_include_directories(${library} SYSTEM PRIVATE ${PROJECT_SOURCE_DIR}/third_party/xla_ffi)
    target_link_libraries(${library} PRIVATE jaxmg_objects jaxmg_cuda${major}_objects)
    target_link_options(
        ${library}
        PRIVATE -static-libstdc++ LINKER:--version-script=${jaxmg_exports} LINKER:--gc-sections
    )
    add_dependencies(jaxmg_python ${library})
    install(TARGETS ${library} LIBRARY DESTINATION jaxmg/_lib COMPONENT python EXCLUDE_FROM_ALL)
endforeach()
