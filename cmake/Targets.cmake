# wavetape_library(NAME [DEPS folders…] [PRIVATE_DEPS targets…]): the static library wavetape::NAME of every .cpp in the
# folder NAME. DEPS are the folders it may include from; tests/house_test.cpp holds the includes to the same arrows.
function(wavetape_library name)
  cmake_parse_arguments(ARG "" "" "DEPS;PRIVATE_DEPS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${name}/*.cpp)
  list(REMOVE_ITEM sources ${PROJECT_SOURCE_DIR}/train/main.cpp)
  if(WAVETAPE_CUDA)
    file(GLOB_RECURSE kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${name}/*.cu)
    list(APPEND sources ${kernels})
    list(FILTER sources EXCLUDE REGEX "/cuda_absent[.]cpp$")
  else()
    list(FILTER sources EXCLUDE REGEX "/cuda_runtime[.]cpp$|_cuda[.]cpp$")
  endif()
  add_library(wavetape_${name} STATIC ${sources})
  add_library(wavetape::${name} ALIAS wavetape_${name})
  set_target_properties(wavetape_${name} PROPERTIES EXPORT_NAME ${name})
  target_link_libraries(wavetape_${name} PUBLIC wavetape_flags Threads::Threads PRIVATE ${ARG_PRIVATE_DEPS})
  set_property(GLOBAL APPEND PROPERTY WAVETAPE_DEPENDENCIES ${ARG_PRIVATE_DEPS})
  foreach(dep ${ARG_DEPS})
    target_link_libraries(wavetape_${name} PUBLIC wavetape::${dep})
  endforeach()
endfunction()

# wavetape_embed(NAME FILE FUNCTION HEADER): a text file of the tree as a function of the library wavetape::NAME that
# returns it, so that the program needs no files beside it.
function(wavetape_embed name file function header)
  file(READ ${PROJECT_SOURCE_DIR}/${file} text)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${file})
  set(source ${PROJECT_BINARY_DIR}/embedded/${function}.cpp)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT [[
#include "@header@"
namespace wt {
std::string_view @function@() {
  return R"embedded(@text@)embedded";
}
}  // namespace wt
]])
  target_sources(wavetape_${name} PRIVATE ${source})
endfunction()

# The program `wavetape`, left at the top of the build folder.
function(wavetape_program)
  add_executable(wavetape ${PROJECT_SOURCE_DIR}/train/main.cpp)
  target_link_libraries(wavetape PRIVATE wavetape::train wavetape_cli wavetape_fmt wavetape_json)
endfunction()

# `cmake --install`: the program, the libraries with their headers, and what find_package(wavetape) reads. Archives of
# third-party libraries are named by their place on this machine.
function(wavetape_install)
  include(GNUInstallDirs)
  include(CMakePackageConfigHelpers)
  set(package ${CMAKE_INSTALL_LIBDIR}/cmake/wavetape)
  set(libraries)
  get_property(dependencies GLOBAL PROPERTY WAVETAPE_DEPENDENCIES)
  list(REMOVE_DUPLICATES dependencies)
  foreach(name ${ARGN})
    list(APPEND libraries wavetape_${name})
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/${name} DESTINATION include/wavetape FILES_MATCHING PATTERN "*.h")
  endforeach()
  install(TARGETS wavetape RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(TARGETS ${libraries} wavetape_flags ${dependencies} EXPORT wavetape
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT wavetape NAMESPACE wavetape:: FILE wavetapeTargets.cmake DESTINATION ${package})
  configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/wavetapeConfig.cmake.in
    ${PROJECT_BINARY_DIR}/wavetapeConfig.cmake INSTALL_DESTINATION ${package})
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/wavetapeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/wavetapeConfig.cmake ${PROJECT_BINARY_DIR}/wavetapeConfigVersion.cmake
          DESTINATION ${package})
endfunction()
