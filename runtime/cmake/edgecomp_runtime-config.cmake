# find_package(edgecomp_runtime): targets edgecomp::runtime and edgecomp::runtime_shared.
include(CMakeFindDependencyMacro)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/edgecomp_runtime-targets.cmake)
