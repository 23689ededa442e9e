# Goal: what `cmake --install` leaves is all that a user of the library needs.
# Method: install into an empty folder, move that folder (nothing may remember where it was), build outside/ against it with
# no other hint, run its program and the installed one.
function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${what} failed (${result}):\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

# What the compiler's cache keeps is found again in another clone.
set(ENV{CCACHE_BASEDIR} "${FOLDER}")
set(ENV{CCACHE_NOHASHDIR} 1)
file(REMOVE_RECURSE "${FOLDER}")
run("installing" ${CMAKE_COMMAND} --install "${BUILD}" --prefix "${FOLDER}/first")
file(RENAME "${FOLDER}/first" "${FOLDER}/prefix")

if(SANITIZE)
  set(flags "-DCMAKE_CXX_FLAGS=-fsanitize=${SANITIZE}")
endif()
run("configuring the outside project" ${CMAKE_COMMAND} -S "${OUTSIDE}" -B "${FOLDER}/build" -G Ninja
  "-DCMAKE_CXX_COMPILER=${COMPILER}" "-DCMAKE_CXX_COMPILER_LAUNCHER=${CCACHE}" "-DCMAKE_PREFIX_PATH=${FOLDER}/prefix" ${flags})
if(NOT output MATCHES "crosslink found in ${FOLDER}/prefix")
  message(FATAL_ERROR "found another crosslink:\n${output}")
endif()
run("building the outside project" ${CMAKE_COMMAND} --build "${FOLDER}/build" -j2)

run("running the outside project's program" "${FOLDER}/build/outside")
string(FIND "${output}" "built with crosslink ${VERSION}\n" built_with_this_version)
if(built_with_this_version EQUAL -1 OR NOT output MATCHES "connect: Configuration")
  message(FATAL_ERROR "the outside project's program said:\n${output}")
endif()
run("testing a good engine" "${FOLDER}/build/engine_test" "--gtest_filter=*/as_it_is")
if(NOT output MATCHES "PASSED  . [5-9][0-9] tests")
  message(FATAL_ERROR "the suite has too few cases for a good engine:\n${output}")
endif()
execute_process(COMMAND "${FOLDER}/build/engine_test" "--gtest_filter=*/loses_entries" OUTPUT_VARIABLE output ERROR_VARIABLE output
  RESULT_VARIABLE result)
if(result EQUAL 0 OR NOT output MATCHES "FAILED  . Bad/EngineConformance.the_log_can_be_read_from_every_lsn_to_the_head/loses_entries")
  message(FATAL_ERROR "the suite let an engine pass that loses entries (${result}):\n${output}")
endif()
run("running the installed program" "${FOLDER}/prefix/bin/crosslink" --version)
if(NOT output STREQUAL "crosslink ${VERSION}\n")
  message(FATAL_ERROR "the installed program said:\n${output}")
endif()
file(REMOVE_RECURSE "${FOLDER}")
