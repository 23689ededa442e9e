# Which build runs which suites, and one CTest entry for each suite of a GoogleTest program.

# `./test` (release, g++), `./test --preset asan` and `./test --preset tsan` (clang) are CI's three runs; each suite is in
# those where it can fail. The debug build has all.
#   release  what g++ 12 may miscompile (coroutines), what measures, and what only drives the program
#   asan     what can misuse memory
#   tsan     what has threads of ours
# Elsewhere a suite carries the label `elsewhere` and its program is built by the target `every_test` only: `./test --every`.
set(CROSSLINK_RUN debug)
if(CROSSLINK_SANITIZE MATCHES "thread")
  set(CROSSLINK_RUN tsan)
elseif(CROSSLINK_SANITIZE)
  set(CROSSLINK_RUN asan)
elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  set(CROSSLINK_RUN release)
endif()
add_custom_target(every_test)

# crosslink_labels(labels RUNS_IN release asan LABELS unit): with `elsewhere` unless this is one of the runs.
function(crosslink_labels result)
  cmake_parse_arguments(ARG "" "" "RUNS_IN;LABELS" ${ARGN})
  if(NOT CROSSLINK_RUN STREQUAL "debug" AND NOT CROSSLINK_RUN IN_LIST ARG_RUNS_IN)
    list(APPEND ARG_LABELS elsewhere)
  endif()
  set(${result} "${ARG_LABELS}" PARENT_SCOPE)
endfunction()

# crosslink_build_where_run(program LABEL...)
function(crosslink_build_where_run program)
  if(elsewhere IN_LIST ARGN)
    set_target_properties(${program} PROPERTIES EXCLUDE_FROM_ALL ON)
    add_dependencies(every_test ${program})
  endif()
endfunction()

# crosslink_suites(unit_tls PREFIX tls RUNS_IN asan LABELS unit TIMEOUT 120 PRECOMPILED tests [SPLIT Suite/Name:4 ...] [PROPERTIES RUN_SERIAL ON])
# One CTest entry `tls.Suite` for each suite of the program: its cases share a process, and what the suite sets up once.
# SPLIT runs a suite in so many entries, beside each other. What each case took is left in gtest/tls.Suite.json.
function(crosslink_suites program)
  cmake_parse_arguments(ARG "" "PREFIX;TIMEOUT;PRECOMPILED" "RUNS_IN;LABELS;SPLIT;PROPERTIES" ${ARGN})
  crosslink_labels(ARG_LABELS RUNS_IN ${ARG_RUNS_IN} LABELS ${ARG_LABELS})
  crosslink_build_where_run(${program} ${ARG_LABELS})
  crosslink_use_precompiled(${ARG_PRECOMPILED} ${program})
  # A program that was not built is a test that fails, not one that is missed.
  set(list "${CMAKE_CURRENT_BINARY_DIR}/${program}_suites.cmake")
  set(include "${CMAKE_CURRENT_BINARY_DIR}/${program}_include.cmake")
  file(CONFIGURE OUTPUT "${include}" @ONLY CONTENT [[
if(EXISTS "@list@")
  include("@list@")
else()
  add_test(@ARG_PREFIX@.@program@_was_not_built "@program@_was_not_built")
  set_tests_properties(@ARG_PREFIX@.@program@_was_not_built PROPERTIES LABELS "@ARG_LABELS@")
endif()
]])
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${include}")
  foreach(name LABELS SPLIT PROPERTIES)  # a list would fall apart on its way through the build's command line
    list(JOIN ARG_${name} "," ARG_${name})
  endforeach()
  set_property(TARGET ${program} APPEND PROPERTY LINK_DEPENDS "${CMAKE_SOURCE_DIR}/cmake/list_suites.cmake")
  add_custom_command(TARGET ${program} POST_BUILD BYPRODUCTS "${list}" VERBATIM
    COMMAND ${CMAKE_COMMAND} -D "PROGRAM=$<TARGET_FILE:${program}>" -D "PREFIX=${ARG_PREFIX}" -D "LABELS=${ARG_LABELS}"
      -D "TIMEOUT=${ARG_TIMEOUT}" -D "SPLIT=${ARG_SPLIT}" -D "PROPERTIES=${ARG_PROPERTIES}" -D "LIST=${list}"
      -D "RESULTS=${CMAKE_BINARY_DIR}/gtest" -P "${CMAKE_SOURCE_DIR}/cmake/list_suites.cmake")
endfunction()
