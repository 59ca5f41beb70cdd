/* Files mapped read-only, and folders that have to be there. */
#ifndef EDGECOMP_SRC_PLATFORM_FILE_MAP_H
#define EDGECOMP_SRC_PLATFORM_FILE_MAP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ec_file_map {
  const void *data; /* page aligned; NULL for an empty file and after closing */
  uint64_t bytes;
} ec_file_map;

/* Map a regular file. Returns NULL, or why it could not be done ("no such file"), in which
 * case *out_map is untouched. The file may be deleted while it is mapped, but must not be
 * shortened. */
const char *ec_file_map_open(const char *path, ec_file_map *out_map);

/* Hint that all of it is about to be read; a zeroed map is allowed. */
void ec_file_map_fetch(const ec_file_map *map);

/* Unmap; a zeroed or closed map is allowed. */
void ec_file_map_close(ec_file_map *map);

#endif /* EDGECOMP_SRC_PLATFORM_FILE_MAP_H */
