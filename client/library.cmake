include(CMakePackageConfigHelpers)

set(weir_header ${CMAKE_CURRENT_SOURCE_DIR}/include/weir/weir.h)
set(weir_map ${CMAKE_CURRENT_BINARY_DIR}/weir.map)
add_custom_command(OUTPUT ${weir_map}
    COMMAND ${CMAKE_COMMAND} -DHEADER=${weir_header} -DOUT=${weir_map}
        -P ${CMAKE_CURRENT_SOURCE_DIR}/version_script.cmake
    DEPENDS ${weir_header} ${CMAKE_CURRENT_SOURCE_DIR}/version_script.cmake)
add_custom_target(weir_version_script DEPENDS ${weir_map})

# libweir.so.0: the soname is 0 until 1.0 and changes when the ABI breaks.
add_library(weir SHARED $<TARGET_OBJECTS:weir_client> $<TARGET_OBJECTS:weir_proto>)
add_dependencies(weir weir_version_script)
set_target_properties(weir PROPERTIES OUTPUT_NAME weir SOVERSION 0 VERSION ${PROJECT_VERSION}
    LINKER_LANGUAGE C LINK_DEPENDS ${weir_map})
target_link_libraries(weir PRIVATE weir_flags PkgConfig::ZSTD isal::isal)
target_link_options(weir PRIVATE -Wl,--version-script=${weir_map} -Wl,--no-undefined-version
    $<$<NOT:$<BOOL:${WEIR_SANITIZE}>>:-Wl,-z,defs>)

# libweir.a: one object, so that internal names (buf_put ...) cannot collide with a program's own.
find_program(WEIR_LD ld REQUIRED)
set(weir_one ${CMAKE_CURRENT_BINARY_DIR}/weir_one.o)
add_custom_command(OUTPUT ${weir_one}
    COMMAND ${WEIR_LD} -r -o ${weir_one} $<TARGET_OBJECTS:weir_client> $<TARGET_OBJECTS:weir_proto>
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${weir_one}
    DEPENDS $<TARGET_OBJECTS:weir_client> $<TARGET_OBJECTS:weir_proto>
    COMMAND_EXPAND_LISTS VERBATIM)
add_library(weir_static STATIC ${weir_one})
set_source_files_properties(${weir_one} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
set_target_properties(weir_static PROPERTIES OUTPUT_NAME weir LINKER_LANGUAGE C)
target_link_libraries(weir_static INTERFACE zstd isal)

foreach(lib weir weir_static)
    target_include_directories(${lib} PUBLIC
        $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    add_library(weir::${lib} ALIAS ${lib})
endforeach()
# What the sanitizers and gcov add must be linked by whoever links the archive.
if(WEIR_SANITIZE OR WEIR_COVERAGE)
    target_link_libraries(weir_static INTERFACE $<BUILD_INTERFACE:weir_flags>)
endif()

install(TARGETS weir weir_static EXPORT weirTargets COMPONENT client
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/weir DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT client)
install(EXPORT weirTargets NAMESPACE weir:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/weir
    COMPONENT client)
configure_package_config_file(weirConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/weirConfig.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/weir)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/weirConfigVersion.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/weirConfig.cmake
    ${CMAKE_CURRENT_BINARY_DIR}/weirConfigVersion.cmake
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/weir COMPONENT client)
# The .pc file finds its prefix from its own place, so an installed tree may be moved.
file(RELATIVE_PATH weir_pc_to_prefix /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(libweir.pc.in ${CMAKE_CURRENT_BINARY_DIR}/libweir.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/libweir.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT client)

# libweir(3), from the header.
find_package(Python3 COMPONENTS Interpreter QUIET)
if(Python3_FOUND)
    set(weir_man_page ${CMAKE_CURRENT_BINARY_DIR}/libweir.3)
    set(weir_man_script ${CMAKE_CURRENT_SOURCE_DIR}/man_page.py)
    add_custom_command(OUTPUT ${weir_man_page}
        COMMAND ${Python3_EXECUTABLE} ${weir_man_script} ${weir_header} ${PROJECT_VERSION} >${weir_man_page}
        DEPENDS ${weir_man_script} ${weir_header})
    add_custom_target(weir_client_docs ALL DEPENDS ${weir_man_page})
    install(FILES ${weir_man_page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 COMPONENT client)
endif()
