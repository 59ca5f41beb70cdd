#include "device/opencl/program_cache.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/message.h"
#include "core/xxh3.h"
#include "edgecomp/edgecomp.h"
#include "platform/clock.h"
#include "platform/file_map.h"

#define PATH_BYTES 1024

typedef struct cache_head {
  char magic[8];
  uint64_t key;
  uint64_t hash;
} cache_head;

static const char magic[8] = {'E', 'C', 'C', 'L', 'B', 'I', 'N', '1'};

/* False where the path is too long. */
static bool path_of(const char *folder, uint64_t key, const char *suffix, char *out) {
  int length = snprintf(out, PATH_BYTES, "%s/%016" PRIx64 "%s", folder, key, suffix);
  return length > 0 && length < PATH_BYTES;
}

ec_status ec_cl_cache_check(const char *folder) {
  struct stat status;
  if (folder != NULL && (stat(folder, &status) != 0 || !S_ISDIR(status.st_mode))) {
    return EC_FAIL(EC_ERROR_FILE, "device cache '%s': no such folder", folder);
  }
  return EC_OK;
}

bool ec_cl_cache_find(const char *folder, uint64_t key, ec_file_map *out_map,
                      const unsigned char **out_binary, size_t *out_bytes) {
  char path[PATH_BYTES];
  ec_file_map map = {NULL, 0};
  if (!path_of(folder, key, ".clbin", path) || ec_file_map_open(path, &map) != NULL) {
    return false;
  }
  cache_head head;
  if (map.bytes > sizeof head) {
    const unsigned char *binary = (const unsigned char *)map.data + sizeof head;
    uint64_t bytes = map.bytes - sizeof head;
    memcpy(&head, map.data, sizeof head);
    if (memcmp(head.magic, magic, sizeof magic) == 0 && head.key == key &&
        head.hash == ec_xxh3(binary, bytes)) {
      *out_map = map;
      *out_binary = binary;
      *out_bytes = (size_t)bytes;
      return true;
    }
  }
  ec_file_map_close(&map);
  return false;
}

void ec_cl_cache_keep(const char *folder, uint64_t key, const unsigned char *binary,
                      size_t bytes) {
  char path[PATH_BYTES];
  char written[PATH_BYTES];
  char suffix[48];
  /* Other processes may write the same file at the same time. */
  (void)snprintf(suffix, sizeof suffix, ".%" PRIx64 "-%" PRIxPTR, ec_clock_ns(),
                 (uintptr_t)suffix);
  if (!path_of(folder, key, ".clbin", path) || !path_of(folder, key, suffix, written)) {
    return;
  }
  FILE *file = fopen(written, "wbx");
  if (file == NULL) {
    return;
  }
  cache_head head = {.key = key, .hash = ec_xxh3(binary, bytes)};
  memcpy(head.magic, magic, sizeof magic);
  bool is_whole =
      fwrite(&head, sizeof head, 1, file) == 1 && fwrite(binary, 1, bytes, file) == bytes;
  is_whole = fclose(file) == 0 && is_whole;
  if (!is_whole || rename(written, path) != 0) {
    (void)remove(written);
  }
}
