# jaxmg::jaxmg, the library for C++ programs, and what is installed with it.

# The one source that is linked to a BLAS.
add_library(jaxmg_linked_blas OBJECT ${jaxmg_blas_linked_sources})
target_include_directories(
    jaxmg_linked_blas
    PRIVATE $<TARGET_PROPERTY:jaxmg_objects,INTERFACE_INCLUDE_DIRECTORIES>
)
target_compile_definitions(
    jaxmg_linked_blas
    PRIVATE JAXMG_BLAS_PREFIX=${JaxmgBlas_PREFIX} JAXMG_BLAS_NAME="${JaxmgBlas_NAME}"
)
target_link_libraries(jaxmg_linked_blas PUBLIC JaxmgBlas::JaxmgBlas)

# The public functions, for all engines of this build.
file(GLOB jaxmg_public_sources CONFIGURE_DEPENDS src/api/public/*.cpp)
set(jaxmg_cpp_objects jaxmg_public_objects jaxmg_objects jaxmg_linked_blas)
if(jaxmg_cuda_majors)
    list(APPEND jaxmg_cpp_objects jaxmg_cuda_objects)
else()
    list(FILTER jaxmg_public_sources EXCLUDE REGEX "/cuda_")
endif()
add_library(jaxmg_public_objects OBJECT ${jaxmg_public_sources})
target_link_libraries(
    jaxmg_public_objects
    PRIVATE jaxmg_objects $<TARGET_NAME_IF_EXISTS:jaxmg_cuda_objects>
)

# The tests take the objects directly, since they reach internals.
add_library(jaxmg SHARED)
add_library(jaxmg::jaxmg ALIAS jaxmg)
target_link_libraries(jaxmg PRIVATE ${jaxmg_cpp_objects})
target_compile_features(jaxmg INTERFACE cxx_std_20)
target_include_directories(
    jaxmg
    INTERFACE
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
        $<BUILD_INTERFACE:${jaxmg_generated_include}>
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
)
set_target_properties(
    jaxmg
    PROPERTIES
        LINKER_LANGUAGE CXX
        VERSION ${PROJECT_VERSION}
        SOVERSION ${PROJECT_VERSION_MAJOR}
        INSTALL_RPATH "${JaxmgBlas_RPATH}"
)
if(jaxmg_cuda_majors)
    set_property(
        TARGET jaxmg
        APPEND
        PROPERTY INSTALL_RPATH "${JaxmgCuda${jaxmg_newest_cuda}_LIBRARY_DIRS}"
    )
endif()

include(CMakePackageConfigHelpers)
set(jaxmg_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/jaxmg)
configure_package_config_file(
    cmake/jaxmgConfig.cmake.in
    ${PROJECT_BINARY_DIR}/generated/jaxmgConfig.cmake
    INSTALL_DESTINATION ${jaxmg_package_dir}
)
write_basic_package_version_file(
    ${PROJECT_BINARY_DIR}/generated/jaxmgConfigVersion.cmake
    COMPATIBILITY SameMajorVersion
)
install(
    TARGETS jaxmg
    EXPORT jaxmgTargets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cpp NAMELINK_COMPONENT cpp
)
install(
    DIRECTORY ${PROJECT_SOURCE_DIR}/include/jaxmg ${jaxmg_generated_include}/jaxmg
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    COMPONENT cpp
    FILES_MATCHING
    PATTERN "*.hpp"
)
install(EXPORT jaxmgTargets NAMESPACE jaxmg:: DESTINATION ${jaxmg_package_dir} COMPONENT cpp)
install(
    FILES
        ${PROJECT_BINARY_DIR}/generated/jaxmgConfig.cmake
        ${PROJECT_BINARY_DIR}/generated/jaxmgConfigVersion.cmake
    DESTINATION ${jaxmg_package_dir}
    COMPONENT cpp
)
