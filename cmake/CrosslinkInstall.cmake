# cmake --install: headers, static libraries, the programs, and a package for find_package(crosslink).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The one to link: everything that public headers name.
add_library(crosslink_all INTERFACE)
add_library(crosslink::crosslink ALIAS crosslink_all)
set_target_properties(crosslink_all PROPERTIES EXPORT_NAME crosslink)
target_link_libraries(crosslink_all INTERFACE crosslink::engine_rocksdb crosslink::engine_memory crosslink::replication crosslink::link
  crosslink::quic crosslink::tls crosslink::wire)
target_compile_features(crosslink_all INTERFACE cxx_std_23)

install(TARGETS crosslink_all crosslink_engine_common crosslink_engine_memory crosslink_engine_rocksdb
  crosslink_engine_etcd crosslink_etcd_wire crosslink_replication crosslink_link crosslink_quic crosslink_tls crosslink_async crosslink_session crosslink_base crosslink_wire crosslink_asio EXPORT crosslink
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY "${CMAKE_SOURCE_DIR}/include/crosslink" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
install(FILES "${CMAKE_BINARY_DIR}/include/crosslink/version.hpp" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/crosslink)
install(FILES "${CMAKE_SOURCE_DIR}/LICENSE" DESTINATION ${CMAKE_INSTALL_DOCDIR})
file(GLOB documents "${CMAKE_SOURCE_DIR}/docs/*.md")
install(FILES ${documents} DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES "${CMAKE_SOURCE_DIR}/docs/crosslink.service" DESTINATION lib/systemd/system)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/crosslink)
install(EXPORT crosslink NAMESPACE crosslink:: FILE crosslinkTargets.cmake DESTINATION ${package_folder})
configure_package_config_file("${CMAKE_SOURCE_DIR}/cmake/crosslinkConfig.cmake.in" "${CMAKE_BINARY_DIR}/crosslinkConfig.cmake"
  INSTALL_DESTINATION ${package_folder} PATH_VARS CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file("${CMAKE_BINARY_DIR}/crosslinkConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_BINARY_DIR}/crosslinkConfig.cmake" "${CMAKE_BINARY_DIR}/crosslinkConfigVersion.cmake"
  DESTINATION ${package_folder})

# A msquic of our own goes into the library folder, where the programs look for it.
if(CROSSLINK_MSQUIC_BUNDLED)
  file(REAL_PATH "${CROSSLINK_MSQUIC_LIBRARY}" msquic_file)
  install(FILES "${msquic_file}" DESTINATION ${CMAKE_INSTALL_LIBDIR} RENAME libmsquic.so.2)
endif()

# crosslink_install_program(crosslink-bench OPTIONAL): if it was built.
function(crosslink_install_program program)
  install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} ${ARGN})
  if(CROSSLINK_MSQUIC_BUNDLED)
    file(RELATIVE_PATH from_program_to_library "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBDIR}")
    set_target_properties(${program} PROPERTIES INSTALL_RPATH "$ORIGIN/${from_program_to_library}")
  else()
    set_target_properties(${program} PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
  endif()
endfunction()
crosslink_install_program(crosslink)
