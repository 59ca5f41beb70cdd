/* Raw files: little-endian, contiguous, nothing but the elements. */
#ifndef EDGECOMP_TOOLS_FILES_H
#define EDGECOMP_TOOLS_FILES_H

#include <stdint.h>

#include "edgecomp/edgecomp.h"

/* Read a file of exactly `bytes` into `data`; ends the process when it is anything else. */
void file_read(const char *path, const char *input_name, void *data, uint64_t bytes);

/* Create the folder unless it is there. */
void folder_make(const char *path);

/* Path of an output's file, from malloc: FOLDER/NAME.bin with anything but letters and digits
 * in NAME replaced by _. */
char *output_path(const char *folder, const char *name);

/* Write a file beside its place, then rename it: it is whole or absent. */
void file_write(const char *path, const void *data, uint64_t bytes);

#endif /* EDGECOMP_TOOLS_FILES_H */
