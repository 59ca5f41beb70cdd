#define _GNU_SOURCE /* mkdir under -std=c11 */
#include "files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "failure.h"

void file_read(const char *path, const char *input_name, void *data, uint64_t bytes) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    fail(EXIT_CODE_USAGE, "input '%s': cannot read '%s': %s", input_name, path,
         strerror(errno));
  }
  size_t have = fread(data, 1, (size_t)bytes, file);
  bool longer = have == bytes && fgetc(file) != EOF;
  bool failed = ferror(file) != 0;
  (void)fclose(file);
  if (failed) {
    fail(EXIT_CODE_USAGE, "input '%s': cannot read '%s'", input_name, path);
  }
  if (have != bytes || longer) {
    fail(EXIT_CODE_USAGE, "input '%s' has %" PRIu64 " bytes, '%s' has %s", input_name, bytes,
         path, longer ? "more" : "fewer");
  }
}

void folder_make(const char *path) {
  if (mkdir(path, 0777) != 0 && errno != EEXIST) {
    fail(EXIT_CODE_USAGE, "cannot make folder '%s': %s", path, strerror(errno));
  }
}

static bool is_plain(char letter) {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
         (letter >= '0' && letter <= '9');
}

/* first + second + third, from malloc. */
static char *join(const char *first, const char *second, const char *third) {
  size_t bytes = strlen(first) + strlen(second) + strlen(third) + 1;
  char *joined = malloc(bytes);
  if (joined == NULL) {
    fail(EXIT_CODE_DEVICE, "out of memory");
  }
  (void)snprintf(joined, bytes, "%s%s%s", first, second, third);
  return joined;
}

char *output_path(const char *folder, const char *name) {
  char *file = join("/", name, ".bin");
  for (size_t i = 1; i <= strlen(name); ++i) {
    if (!is_plain(file[i])) {
      file[i] = '_';
    }
  }
  char *path = join(folder, file, "");
  free(file);
  return path;
}

void file_write(const char *path, const void *data, uint64_t bytes) {
  char *beside = join(path, ".part", "");
  FILE *file = fopen(beside, "wb");
  bool done = file != NULL && fwrite(data, 1, (size_t)bytes, file) == bytes;
  done = file != NULL && fclose(file) == 0 && done;
  if (!done || rename(beside, path) != 0) {
    int code = errno;
    (void)remove(beside);
    fail(EXIT_CODE_USAGE, "cannot write '%s': %s", path, strerror(code));
  }
  free(beside);
}
