# How every target of ours is compiled, and the one way to make a library.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_COMPILE_OPTIONS_PIE -fPIC)  # programs as libraries, which lets them share precompiled headers
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")

# What the cache keeps is found again in another clone: nothing it hashes, and nothing the compiler writes, names this
# folder. Precompiled headers need the two words of sloppiness (ccache's manual); nothing here uses __TIME__.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER env "CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}" CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros "${CCACHE}")
endif()
if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")  # a debugger finds the sources by their full names
  add_compile_options("-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=")
endif()

# Asio's functions are compiled once, in src/quic/asio.cpp, and not in each file that calls them. A user of the installed
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

# crosslink_library(core SOURCES a.cpp b.cpp LINKS fmt::fmt PRIVATE_LINKS x)
# makes the static library crosslink_core with alias crosslink::core.
function(crosslink_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;PRIVATE_LINKS" ${ARGN})
  add_library(crosslink_${name} STATIC ${ARG_SOURCES})
  add_library(crosslink::${name} ALIAS crosslink_${name})
  set_target_properties(crosslink_${name} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(crosslink_${name}
    PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>
    PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(crosslink_${name} PUBLIC ${ARG_LINKS} PRIVATE $<BUILD_INTERFACE:crosslink_options> ${ARG_PRIVATE_LINKS})
endfunction()
