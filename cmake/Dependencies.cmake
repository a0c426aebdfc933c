# Every dependency is a Debian 12 package, installed by .ci/deps.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(MSGPACK REQUIRED IMPORTED_TARGET msgpack)

find_library(ISAL_LIBRARY isal REQUIRED)
find_path(ISAL_INCLUDE_DIR isa-l/crc.h REQUIRED)
add_library(isal::isal UNKNOWN IMPORTED)
set_target_properties(isal::isal PROPERTIES IMPORTED_LOCATION ${ISAL_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${ISAL_INCLUDE_DIR})

if(WEIR_BUILD_SERVER)
    find_library(EV_LIBRARY ev REQUIRED)
    find_path(EV_INCLUDE_DIR ev.h REQUIRED)
    add_library(ev::ev UNKNOWN IMPORTED)
    set_target_properties(ev::ev PROPERTIES IMPORTED_LOCATION ${EV_LIBRARY}
        INTERFACE_INCLUDE_DIRECTORIES ${EV_INCLUDE_DIR})
    pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
    find_library(ROCKSDB_LIBRARY rocksdb REQUIRED)
    find_path(ROCKSDB_INCLUDE_DIR rocksdb/c.h REQUIRED)
    add_library(rocksdb::c UNKNOWN IMPORTED)
    set_target_properties(rocksdb::c PROPERTIES IMPORTED_LOCATION ${ROCKSDB_LIBRARY}
        INTERFACE_INCLUDE_DIRECTORIES ${ROCKSDB_INCLUDE_DIR})
    find_path(UTHASH_INCLUDE_DIR uthash.h REQUIRED)
endif()
if(WEIR_BUILD_TESTS)
    pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
endif()
