# What crosslink is built on. Versions and reasons: docs/hacking.md.
set(CROSSLINK_BOOST_VERSION 1.81)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(Boost ${CROSSLINK_BOOST_VERSION} REQUIRED)

# ISA-L (CRC-32C), RocksDB, prometheus-cpp, xxHash and zstd: plain libraries in the system's folders, linked by name.
foreach(library isal prometheus-cpp-core rocksdb xxhash zstd)
  find_library(CROSSLINK_${library}_LIBRARY ${library} REQUIRED)
endforeach()

# gRPC and Protocol Buffers, for etcd: what protoc makes of src/engine/etcd/*.proto is compiled with ours.
foreach(library grpc++ protobuf)
  find_library(CROSSLINK_${library}_LIBRARY ${library} REQUIRED)
endforeach()
find_program(CROSSLINK_PROTOC protoc REQUIRED)
find_program(CROSSLINK_GRPC_PLUGIN grpc_cpp_plugin REQUIRED)

# MessagePack for C++, header only. Debian's package depends on Boost 1.74 and cannot be installed beside 1.81, so
# tools/setup unpacks it into the dependency folder.
find_path(CROSSLINK_MSGPACK_INCLUDE msgpack.hpp HINTS "${CROSSLINK_DEPS_DIR}/msgpack/usr/include" REQUIRED)
add_library(crosslink_msgpack INTERFACE)
target_include_directories(crosslink_msgpack SYSTEM INTERFACE $<BUILD_INTERFACE:${CROSSLINK_MSGPACK_INCLUDE}>)
target_compile_definitions(crosslink_msgpack INTERFACE MSGPACK_NO_BOOST)

# msquic: an installed one (its package states no version, so none can be asked for), else the one that tools/setup built
# from the pinned crate and that goes with us when we are installed. Under ThreadSanitizer always the one compiled for it.
set(msquic_folder msquic)
if(CROSSLINK_SANITIZE STREQUAL "thread")
  set(msquic_folder msquic-tsan)
else()
  find_package(msquic CONFIG QUIET)
endif()
if(msquic_FOUND)
  set(CROSSLINK_MSQUIC_BUNDLED OFF)
  get_target_property(CROSSLINK_MSQUIC_INCLUDE msquic::msquic INTERFACE_INCLUDE_DIRECTORIES)
  get_target_property(CROSSLINK_MSQUIC_LIBRARY msquic::msquic LOCATION)
else()
  set(CROSSLINK_MSQUIC_BUNDLED ON)
  find_path(CROSSLINK_MSQUIC_INCLUDE msquic.h HINTS "${CROSSLINK_DEPS_DIR}/${msquic_folder}/include" REQUIRED)
  find_library(CROSSLINK_MSQUIC_LIBRARY msquic HINTS "${CROSSLINK_DEPS_DIR}/${msquic_folder}/lib" REQUIRED)
endif()
# A target of our own: the package's carries compile flags that do not suit us.
add_library(crosslink_msquic SHARED IMPORTED GLOBAL)
set_target_properties(crosslink_msquic PROPERTIES
  IMPORTED_LOCATION "${CROSSLINK_MSQUIC_LIBRARY}" IMPORTED_SONAME libmsquic.so.2
  INTERFACE_INCLUDE_DIRECTORIES "${CROSSLINK_MSQUIC_INCLUDE}"
  INTERFACE_COMPILE_DEFINITIONS QUIC_API_ENABLE_PREVIEW_FEATURES)
