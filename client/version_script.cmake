# cmake -DHEADER=weir.h -DOUT=weir.map -P version_script.cmake
# Writes the linker's list of public names: every function that the header declares WEIR_API.
file(READ ${HEADER} text)
string(REGEX MATCHALL "WEIR_API [^;(]*[ *]weir_[a-z0-9_]+\\(" declarations "${text}")
set(map "WEIR_0 {\n    global:\n")
foreach(d IN LISTS declarations)
    string(REGEX MATCH "weir_[a-z0-9_]+\\($" name "${d}")
    string(REPLACE "(" "" name "${name}")
    string(APPEND map "        ${name};\n")
endforeach()
string(APPEND map "    local: *;\n};\n")
file(WRITE ${OUT} "${map}")
