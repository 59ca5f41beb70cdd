/* Raw files: little-endian, contiguous, nothing but the elements. */
#ifndef EDGECOMP_TOOLS_FILES_H
#define EDGECOMP_TOOLS_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "edgecomp/edgecomp.h"

/* What a file holds. */
typedef struct file_contents {
  void *data; /* only to be read where it is mapped */
  uint64_t bytes;
  bool is_mapped; /* else from malloc */
} file_contents;

/* Map or read a file of exactly `bytes`; ends the process when it is anything else. As long as
 * the contents are used, the file must not be written to. */
file_contents file_open(const char *path, const char *input_name, uint64_t bytes);

void file_close(file_contents *contents);

/* Create the folder unless it is there. */
void folder_make(const char *path);

/* Path of an output's file, from malloc: FOLDER/NAME.bin with anything but letters and digits
 * in NAME replaced by _. */
char *output_path(const char *folder, const char *name);

/* Write a file beside its place, then rename it: it is whole or absent. */
void file_write(const char *path, const void *data, uint64_t bytes);

#endif /* EDGECOMP_TOOLS_FILES_H */
