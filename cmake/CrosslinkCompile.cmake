# How every target of ours is compiled, and the one way to make a library.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_COMPILE_OPTIONS_PIE -fPIC)  # programs as libraries, which lets them share precompiled headers
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")

# What the cache keeps is found again in another clone: nothing that it hashes, and nothing that the compiler writes, names
# this folder.
find_program(CCACHE ccache)
if(CCACHE)
  file(RELATIVE_PATH up_from_build "${CMAKE_BINARY_DIR}" "${CMAKE_SOURCE_DIR}")
  string(REGEX REPLACE "/$" "" up_from_build "${up_from_build}")
  set(CMAKE_CXX_COMPILER_LAUNCHER
    "${CMAKE_SOURCE_DIR}/cmake/compiler_launcher" "${CMAKE_SOURCE_DIR}" "${up_from_build}" "${CCACHE}")
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  add_compile_options("SHELL:-Xclang -fno-pch-timestamp")  # else a precompiled header is good for one clone only
endif()
if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")  # a debugger finds the sources by their full names
  add_compile_options("-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=")
endif()

# Asio's functions are compiled once, in src/asio, and not in each file that calls them. A user of the installed
# package may do the same or not: the package does not say so, and header-only copies in user code meet ours as one.
add_compile_definitions(BOOST_ASIO_SEPARATE_COMPILATION)

add_library(crosslink_options INTERFACE)
target_compile_options(crosslink_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports these inside Asio's coroutine frames at -O2, and inside its own strings and protobuf's fields where they
  # come from a precompiled header, which is no system header to it then; clang builds the same code without them.
  target_compile_options(crosslink_options INTERFACE -Wno-array-bounds -Wno-dangling-pointer -Wno-maybe-uninitialized
    -Wno-mismatched-new-delete -Wno-stringop-overflow -Wno-stringop-overread)
endif()
if(CROSSLINK_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "Debug")
  # An empty optional, an index beyond the end: neither sanitizer sees them.
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
endif()
if(CROSSLINK_SANITIZE)
  add_compile_options(-fsanitize=${CROSSLINK_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CROSSLINK_SANITIZE})
  if(CROSSLINK_SANITIZE STREQUAL "thread")
    # TSan does not see the fence that ends Asio's own reference counts and would report the delete after it; Boost's counts,
    # which Asio takes instead, have none.
    add_compile_definitions(BOOST_ASIO_DISABLE_STD_ATOMIC)
  endif()
endif()

# Several sources of a library are compiled as one, so that what they include is parsed once: where a whole build counts for
# more than that of one file (the release preset). The other presets compile each by itself, which also keeps every file
# including what it uses.
set(CROSSLINK_UNITY 0 CACHE STRING "how many sources of a library are compiled as one; 0 for each by itself")

# crosslink_library(wire SOURCES a.cpp b.cpp LINKS fmt::fmt PRIVATE_LINKS x)
# makes the static library crosslink_wire with alias crosslink::wire.
function(crosslink_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(crosslink_${name} STATIC ${ARG_SOURCES})
  add_library(crosslink::${name} ALIAS crosslink_${name})
  set_target_properties(crosslink_${name} PROPERTIES EXPORT_NAME ${name})
  if(CROSSLINK_UNITY GREATER 0)
    set_target_properties(crosslink_${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${CROSSLINK_UNITY})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")  # it takes the sources, included into one, for headers
      target_compile_options(crosslink_${name} PRIVATE -Wno-subobject-linkage)
    endif()
  endif()
  target_include_directories(crosslink_${name}
    PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>
    PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(crosslink_${name} PUBLIC ${ARG_LINKS} PRIVATE $<BUILD_INTERFACE:crosslink_options> ${ARG_PRIVATE_LINKS})
endfunction()
