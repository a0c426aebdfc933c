# Warnings, hardening and sanitizers, as one interface target: link weir_flags (PRIVATE).
add_library(weir_flags INTERFACE)
target_compile_definitions(weir_flags INTERFACE _GNU_SOURCE)
target_include_directories(weir_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(weir_flags INTERFACE
    -g -fno-omit-frame-pointer -fno-strict-aliasing -fno-common
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes
    -Wmissing-prototypes -Wold-style-definition -Wcast-qual -Wpointer-arith
    -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wimplicit-fallthrough -Wswitch-enum
    -Wdouble-promotion)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(weir_flags INTERFACE -Wduplicated-cond -Wlogical-op -Wjump-misses-init)
endif()
if(WEIR_WERROR)
    target_compile_options(weir_flags INTERFACE -Werror)
endif()
if(WEIR_SANITIZE)
    string(REPLACE ";" "," weir_san "${WEIR_SANITIZE}")
    target_compile_options(weir_flags INTERFACE -fsanitize=${weir_san} -fno-sanitize-recover=all)
    target_link_options(weir_flags INTERFACE -fsanitize=${weir_san})
else()
    target_compile_options(weir_flags INTERFACE
        -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
        -Wstack-usage=16384 $<$<NOT:$<CONFIG:Debug>>:-D_FORTIFY_SOURCE=2>)
    target_link_options(weir_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
endif()
if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
    target_compile_options(weir_flags INTERFACE -Wno-unknown-warning-option)
endif()
if(WEIR_COVERAGE)
    # Counters of several threads: without atomic updates they are wrong, and even negative.
    target_compile_options(weir_flags INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(weir_flags INTERFACE --coverage)
endif()
if(WEIR_FUZZ)
    # Comparisons are watched in proto only, where the decoders are (proto/CMakeLists.txt): a call at
    # each of them costs a third of the time of a target that runs a whole server.
    target_compile_options(weir_flags INTERFACE -fsanitize=fuzzer-no-link
        -fno-sanitize-coverage=trace-cmp)
    target_link_options(weir_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(WEIR_BUG)
    target_compile_definitions(weir_flags INTERFACE WEIR_BUG_${WEIR_BUG}=1)
endif()
if(WEIR_KILLPOINTS)
    target_compile_definitions(weir_flags INTERFACE WEIR_KILLPOINTS=1)
endif()
# Release keeps our assertions: WEIR_ASSERT never depends on NDEBUG.
set(CMAKE_C_FLAGS_RELEASE "-O2")
