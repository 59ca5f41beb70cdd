/* Numbers that the sizes of a run decide. */
#ifndef EDGECOMP_SRC_CORE_EXTENT_H
#define EDGECOMP_SRC_CORE_EXTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "edgecomp/model.h"

/* The number for given values of the symbols; of a checked extent. Never negative. */
int64_t ec_extent_value(const ec_extent *extent, const int64_t *symbols);

/* Bounds over all values of the first `symbol_count` symbols. False for an extent that is
 * malformed or could be above INT64_MAX / 2. */
bool ec_extent_bounds(const ec_extent *extent, const ec_symbol *symbols, uint32_t symbol_count,
                      int64_t *out_low, int64_t *out_high);

#endif /* EDGECOMP_SRC_CORE_EXTENT_H */
