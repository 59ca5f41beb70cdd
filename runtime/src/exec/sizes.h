/* The sizes of a session's next run. */
#ifndef EDGECOMP_SRC_EXEC_SIZES_H
#define EDGECOMP_SRC_EXEC_SIZES_H

#include <stdbool.h>
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

/* What of a call for a device differs from run to run, NULL for nothing. */
const ec_dynamic_call *ec_sizes_of_launch(const ec_sizes *sizes, uint32_t call);

/* Groups of work items that a kernel of a device has now; `sizes` may be NULL. False where
 * there is nothing to do. */
bool ec_sizes_groups(const ec_sizes *sizes, const ec_model *model, uint32_t call,
                     uint32_t out_groups[3]);

/* Bytes of a copy's tensor that there are now; `sizes` may be NULL. */
uint64_t ec_sizes_copied(const ec_sizes *sizes, const ec_model *model, uint32_t call);

#endif /* EDGECOMP_SRC_EXEC_SIZES_H */
