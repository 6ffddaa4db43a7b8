# CUDA, behind one option: WAVETAPE_CUDA. `wavetape_cuda` is what core and kernels link, empty in a build without it.
add_library(wavetape_cuda INTERFACE)
set_target_properties(wavetape_cuda PROPERTIES EXPORT_NAME cuda)
if(NOT WAVETAPE_CUDA)
  return()
endif()

set(CMAKE_CUDA_ARCHITECTURES ${WAVETAPE_CUDA_ARCH})
enable_language(CUDA)
# CMake 3.25 does not know the option for C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG -lineinfo")
find_package(CUDAToolkit 13.0 REQUIRED)

# Kernels call a lambda with a template parameter and constexpr functions of the standard library.
set(wavetape_cuda_options --expt-relaxed-constexpr --extended-lambda -Xcompiler=-Wall,-Wextra,-Wno-unused-parameter)
if(WAVETAPE_WERROR)
  list(APPEND wavetape_cuda_options -Werror=all-warnings)
endif()
add_compile_options("$<$<COMPILE_LANGUAGE:CUDA>:${wavetape_cuda_options}>")
# Some kernels have a form of instructions that no other architecture knows; without it they do in another.
if(90a IN_LIST WAVETAPE_CUDA_ARCH)
  add_compile_definitions("$<$<COMPILE_LANGUAGE:CUDA>:WAVETAPE_SM90A>")
endif()
# Only the kernels' dispatch (kernels/dispatch.h) knows which backends there are: the rest compiles the same with and
# without CUDA.
file(GLOB wavetape_dispatching CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.cpp)
list(FILTER wavetape_dispatching EXCLUDE REGEX "_(cpu|cuda)[.]cpp$")
set_source_files_properties(${wavetape_dispatching} PROPERTIES COMPILE_DEFINITIONS WAVETAPE_CUDA)

# cudnn-frontend is headers only and comes as a wheel from PyPI: `./dev build cuda` unpacks it here.
find_path(WAVETAPE_CUDNN_FRONTEND NAMES cudnn_frontend.h
          HINTS ${PROJECT_SOURCE_DIR}/build/third_party/include)
find_path(WAVETAPE_CUDNN_INCLUDE NAMES cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_library(WAVETAPE_CUDNN NAMES cudnn HINTS ${CUDAToolkit_LIBRARY_DIR} ${CUDAToolkit_LIBRARY_ROOT}/lib)
foreach(needed WAVETAPE_CUDNN_FRONTEND WAVETAPE_CUDNN_INCLUDE WAVETAPE_CUDNN)
  if(NOT ${needed})
    message(FATAL_ERROR "${needed} not found: install cuDNN 9 beside the CUDA toolkit, and run ./dev build cuda")
  endif()
endforeach()
target_include_directories(wavetape_cuda SYSTEM INTERFACE
  $<BUILD_INTERFACE:${WAVETAPE_CUDNN_FRONTEND}> $<BUILD_INTERFACE:${WAVETAPE_CUDNN_INCLUDE}>)
target_link_libraries(wavetape_cuda INTERFACE
  CUDA::cudart_static CUDA::cublasLt ${WAVETAPE_CUDNN} CUDA::nvrtc)
