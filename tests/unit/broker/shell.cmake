# The server around the core: its modules without main.c.
foreach(name config log peer conn memory)
    add_executable(test_${name} test_${name}.c)
    target_include_directories(test_${name} PRIVATE ${UTHASH_INCLUDE_DIR})
    target_link_libraries(test_${name} PRIVATE weir_flags weir_shell weir_core weir_storage weir_proto
        weir_storage_lib weir_proto_lib ev::ev PkgConfig::MICROHTTPD PkgConfig::CMOCKA)
    add_test(NAME unit_broker_${name} COMMAND test_${name})
    set_tests_properties(unit_broker_${name} PROPERTIES LABELS unit TIMEOUT 60)
endforeach()
