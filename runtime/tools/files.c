#define _GNU_SOURCE /* mkdir, O_CLOEXEC and mmap under -std=c11 */
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* files over 2 GiB on 32-bit systems */
#endif
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failure.h"

/* Map a regular file of that size: its pages need not be copied to new ones. NULL where that
 * cannot be done. Nothing else is opened, as a pipe can be opened once only. */
static void *map(const char *path, uint64_t bytes) {
  struct stat status;
  if (stat(path, &status) != 0 || !S_ISREG(status.st_mode) || bytes == 0 ||
      (uint64_t)status.st_size != bytes) {
    return NULL;
  }
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    return NULL;
  }
  void *data = mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  (void)close(descriptor); /* the mapping keeps the file */
  return data != MAP_FAILED ? data : NULL;
}

static void read_whole(const char *path, const char *input_name, void *data, uint64_t bytes) {
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

file_contents file_open(const char *path, const char *input_name, uint64_t bytes) {
  file_contents contents = {map(path, bytes), bytes, true};
  if (contents.data == NULL) {
    contents.is_mapped = false;
    contents.data = malloc((size_t)bytes + 1);
    if (contents.data == NULL) {
      fail(EXIT_CODE_DEVICE, "out of memory");
    }
    read_whole(path, input_name, contents.data, bytes);
  }
  return contents;
}

void file_close(file_contents *contents) {
  if (contents->is_mapped) {
    (void)munmap(contents->data, (size_t)contents->bytes);
  } else {
    free(contents->data);
  }
  *contents = (file_contents){0};
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
