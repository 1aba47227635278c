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
