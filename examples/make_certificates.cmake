# Certificates for the examples, as their heads say to make them.
foreach(arguments "init" "issue;--name;prod-us" "issue;--name;eu-1")
  list(GET arguments 0 verb)
  list(REMOVE_AT arguments 0)
  execute_process(COMMAND ${PROGRAM} certs ${verb} --dir ${FOLDER} --force ${arguments} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
