/* Files with what drivers made of programs.
 *
 *   | "ECCLBIN1" | key, 8 bytes | hash of the binary, 8 bytes | binary |
 */
#ifndef EDGECOMP_SRC_DEVICE_OPENCL_PROGRAM_CACHE_H
#define EDGECOMP_SRC_DEVICE_OPENCL_PROGRAM_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edgecomp/edgecomp.h"
#include "platform/file_map.h"

/* EC_ERROR_FILE where a cache is asked for (not NULL) whose folder is not there. */
ec_status ec_cl_cache_check(const char *folder);

/* Look a binary up. False where there is none that is whole; else `out_map` is to be closed.
 */
bool ec_cl_cache_find(const char *folder, uint64_t key, ec_file_map *out_map,
                      const unsigned char **out_binary, size_t *out_bytes);

/* Leave a binary: written beside its place, then renamed. Failures leave none. */
void ec_cl_cache_keep(const char *folder, uint64_t key, const unsigned char *binary,
                      size_t bytes);

#endif /* EDGECOMP_SRC_DEVICE_OPENCL_PROGRAM_CACHE_H */
