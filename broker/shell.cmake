# The server around the core. Objects once, so that unit tests can link them without main.c.
add_library(weir_shell OBJECT
    clock.c log.c config.c config_reload.c config_text.c reload.c peer.c listener.c conn.c conn_in.c conn_out.c memory.c limit_hit.c reply.c session.c cmd_produce.c cmd_fetch.c cmd_sub.c sub_member.c
    members.c cmd_group.c cmd_queue.c cmd_group_admin.c cmd_dlq.c cmd_delay.c
    cmd_topic.c cmd_misc.c cmd_server.c cmd_backup.c metrics.c metrics_help.c prom.c http.c notify.c server.c)
target_include_directories(weir_shell PRIVATE ${UTHASH_INCLUDE_DIR})
target_compile_definitions(weir_shell PUBLIC WEIR_SERVER_VERSION="${PROJECT_VERSION}")
target_link_libraries(weir_shell PRIVATE weir_flags ev::ev PkgConfig::MICROHTTPD)

add_executable(weir-server main.c restore.c)
target_link_libraries(weir-server PRIVATE weir_flags weir_shell weir_core weir_storage weir_proto
    weir_storage_lib weir_proto_lib ev::ev PkgConfig::MICROHTTPD)
install(TARGETS weir-server RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT server)

# Looks at a stopped store.
add_executable(weir-dump dump/main.c dump/dump.c dump/walk.c dump/check_meta.c dump/show.c clock.c)
target_include_directories(weir-dump PRIVATE ${UTHASH_INCLUDE_DIR})
target_link_libraries(weir-dump PRIVATE weir_flags weir_core weir_storage weir_proto weir_storage_lib
    weir_proto_lib)
install(TARGETS weir-dump RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT server)

# Man pages and the sample configuration file, from the table of settings.
add_executable(weir_gen_server_docs gen_docs.c config.c config_text.c)
set_target_properties(weir_gen_server_docs PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
target_compile_definitions(weir_gen_server_docs PRIVATE WEIR_SERVER_VERSION="${PROJECT_VERSION}")
target_include_directories(weir_gen_server_docs PRIVATE ${UTHASH_INCLUDE_DIR})
target_link_libraries(weir_gen_server_docs PRIVATE weir_flags weir_proto weir_proto_lib ev::ev)
set(weir_server_docs ${CMAKE_CURRENT_BINARY_DIR}/docs)
add_custom_command(
    OUTPUT ${weir_server_docs}/weir-server.8 ${weir_server_docs}/weir.toml.5 ${weir_server_docs}/weir.toml
    COMMAND ${CMAKE_COMMAND} -E make_directory ${weir_server_docs}
    COMMAND weir_gen_server_docs ${weir_server_docs}
    DEPENDS weir_gen_server_docs VERBATIM)
add_custom_target(weir_server_docs ALL DEPENDS ${weir_server_docs}/weir-server.8)
install(FILES ${weir_server_docs}/weir-server.8 dump/weir-dump.8
    DESTINATION ${CMAKE_INSTALL_MANDIR}/man8 COMPONENT server)
install(FILES ${weir_server_docs}/weir.toml.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5
    COMPONENT server)
