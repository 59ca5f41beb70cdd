/* Calls of kernels, whose number of pointers is known only when a model is opened. */
#ifndef EDGECOMP_SRC_EXEC_INVOKE_H
#define EDGECOMP_SRC_EXEC_INVOKE_H

#include <stdint.h>

#include "edgecomp/model.h"

/* The tensors, the workspace and the sizes. */
#define EC_MAX_INVOKE_POINTERS (EC_MAX_KERNEL_POINTERS + 2)

/* kernel(pointers[0], ..., pointers[count - 1], lo, hi); count is 1 to
 * EC_MAX_INVOKE_POINTERS. */
void ec_invoke(ec_kernel kernel, void *const *pointers, uint32_t count, int32_t lo,
               int32_t hi);

#endif /* EDGECOMP_SRC_EXEC_INVOKE_H */
