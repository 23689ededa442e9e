# Runs PROGRAM with ARGUMENTS; fails unless it ends with 0 and prints exactly what the file EXPECTED holds.
execute_process(COMMAND ${PROGRAM} ${ARGUMENTS} OUTPUT_VARIABLE output ERROR_VARIABLE errors RESULT_VARIABLE result)
file(READ ${EXPECTED} expected)
if(NOT result EQUAL 0 OR NOT output STREQUAL expected)
  message(FATAL_ERROR "exit ${result}\n--- printed:\n${output}--- expected:\n${expected}--- standard error:\n${errors}")
endif()
