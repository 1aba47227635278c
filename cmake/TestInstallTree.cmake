# CTest "install_tree": install the C++ library, then build and run examples/cpp against it, as an
# outside project would. Included by the main project, and run as a script by the test itself.

if(NOT CMAKE_SCRIPT_MODE_FILE)
    if(NOT jaxmg_has_examples OR JAXMG_SANITIZE)
        return()
    endif()
    add_test(
        NAME install_tree
        COMMAND
            ${CMAKE_COMMAND} -D build=${PROJECT_BINARY_DIR} -D source=${PROJECT_SOURCE_DIR} -D
            generator=${CMAKE_GENERATOR} -D make_program=${CMAKE_MAKE_PROGRAM} -D
            compiler=${CMAKE_CXX_COMPILER} -D build_type=${CMAKE_BUILD_TYPE} -P
            ${CMAKE_CURRENT_LIST_FILE}
    )
    set_tests_properties(install_tree PROPERTIES TIMEOUT 300 LABELS install)
    return()
endif()

function(run_step)
    execute_process(COMMAND ${ARGV} RESULT_VARIABLE result)
    if(NOT result EQUAL 0)
        list(JOIN ARGV " " command)
        message(FATAL_ERROR "failed: ${command}")
    endif()
endfunction()

set(work ${build}/install_tree)
file(REMOVE_RECURSE ${work})
run_step(
    ${CMAKE_COMMAND}
    --install
    ${build}
    --component
    cpp
    --prefix
    ${work}/prefix
)
run_step(
    ${CMAKE_COMMAND}
    -S
    ${source}/examples/cpp
    -B
    ${work}/build
    -G
    ${generator}
    -D
    CMAKE_MAKE_PROGRAM=${make_program}
    -D
    CMAKE_CXX_COMPILER=${compiler}
    -D
    CMAKE_BUILD_TYPE=${build_type}
    -D
    CMAKE_PREFIX_PATH=${work}/prefix
)
run_step(${CMAKE_COMMAND} --build ${work}/build)
run_step(
    ${CMAKE_CTEST_COMMAND}
    --test-dir
    ${work}/build
    --output-on-failure
    --no-tests=error
)
