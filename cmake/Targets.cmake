# wavetape_library(NAME [DEPS folders…] [PRIVATE_DEPS targets…]): the static library wavetape::NAME of every .cpp in the
# folder NAME. DEPS are the folders it may include from; tests/house_test.cpp holds the includes to the same arrows.
function(wavetape_library name)
  cmake_parse_arguments(ARG "" "" "DEPS;PRIVATE_DEPS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${name}/*.cpp)
  list(REMOVE_ITEM sources ${PROJECT_SOURCE_DIR}/train/main.cpp)
  add_library(wavetape_${name} STATIC ${sources})
  add_library(wavetape::${name} ALIAS wavetape_${name})
  target_link_libraries(wavetape_${name} PUBLIC wavetape_flags Threads::Threads PRIVATE ${ARG_PRIVATE_DEPS})
  foreach(dep ${ARG_DEPS})
    target_link_libraries(wavetape_${name} PUBLIC wavetape::${dep})
  endforeach()
endfunction()

# The program `wavetape`, left at the top of the build folder.
function(wavetape_program)
  add_executable(wavetape ${PROJECT_SOURCE_DIR}/train/main.cpp)
  target_link_libraries(wavetape PRIVATE wavetape::train wavetape_cli wavetape_fmt wavetape_json)
endfunction()
