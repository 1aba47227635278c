# JAXMG_SANITIZE: address (with undefined) or thread, for every target of this project.
# The code asks JAXMG_SANITIZE_ADDRESS and JAXMG_SANITIZE_THREAD.

if(NOT JAXMG_SANITIZE)
    return()
endif()

if(JAXMG_SANITIZE STREQUAL "address")
    set(jaxmg_sanitizer_flags -fsanitize=address,undefined -fno-sanitize-recover=all)
    add_compile_definitions(JAXMG_SANITIZE_ADDRESS)
elseif(JAXMG_SANITIZE STREQUAL "thread")
    set(jaxmg_sanitizer_flags -fsanitize=thread)
    add_compile_definitions(JAXMG_SANITIZE_THREAD)
else()
    message(FATAL_ERROR "JAXMG_SANITIZE is '${JAXMG_SANITIZE}'; expected address or thread")
endif()

add_compile_options(${jaxmg_sanitizer_flags} -fno-omit-frame-pointer)
add_link_options(${jaxmg_sanitizer_flags})
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC reports uses of uninitialized variables that only its own instrumentation makes.
    add_compile_options(-Wno-maybe-uninitialized)
endif()

# ThreadSanitizer of g++ 12 and clang 14 dies at start-up ("unexpected memory mapping") on kernels
# with more address randomisation than it knows of, so its programs run without.
if(JAXMG_SANITIZE STREQUAL "thread")
    find_program(JAXMG_SETARCH setarch)
    mark_as_advanced(JAXMG_SETARCH)
    if(JAXMG_SETARCH)
        execute_process(
            COMMAND ${JAXMG_SETARCH} -R true
            RESULT_VARIABLE jaxmg_setarch_result
            OUTPUT_QUIET
            ERROR_QUIET
        )
        if(jaxmg_setarch_result EQUAL 0)
            set(CMAKE_CROSSCOMPILING_EMULATOR ${JAXMG_SETARCH} -R)
        endif()
    endif()
endif()
