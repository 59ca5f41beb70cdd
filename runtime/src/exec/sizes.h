/* The sizes of a session's next run. */
#ifndef EDGECOMP_SRC_EXEC_SIZES_H
#define EDGECOMP_SRC_EXEC_SIZES_H

#include <stdint.h>

#include "edgecomp/model.h"

typedef struct ec_sizes {
  const ec_model *model; /* with a dynamic part */
  int64_t *symbols;      /* value of each symbol */
  int32_t *items;        /* of each call, repetitions included */
  uint32_t *first_size;  /* of each call in `sizes` */
  int32_t *sizes;        /* what kernels read */
} ec_sizes;

/* Bytes of memory for ec_sizes_place, 64-byte aligned; 0 for a model without dynamic part. */
uint64_t ec_sizes_bytes(const ec_model *model);

/* Divide the memory; all symbols get their largest values. */
void ec_sizes_place(const ec_model *model, void *memory, ec_sizes *out_sizes);

/* Compute everything from the symbols that inputs and calls give. */
void ec_sizes_update(ec_sizes *sizes);

#endif /* EDGECOMP_SRC_EXEC_SIZES_H */
