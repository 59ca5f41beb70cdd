/* Where a session's weights come from. */
#ifndef EDGECOMP_SRC_HOST_WEIGHTS_H
#define EDGECOMP_SRC_HOST_WEIGHTS_H

#include <stdint.h>

#include "edgecomp/edgecomp.h"
#include "platform/file_map.h"

typedef struct ec_weights {
  const uint8_t *data; /* 64-byte aligned; NULL when the model has none */
  ec_file_map map;     /* of a side file, else empty */
} ec_weights;

/* Find the weights (given in memory, in a file, or embedded; in this order), and check their
 * size and, unless the options say otherwise, their hash. `options` are resolved. */
ec_status ec_weights_open(const ec_model *model, const ec_open_options *options,
                          ec_weights *out_weights);

/* Unmap the file. Zeroed weights are allowed. */
void ec_weights_close(ec_weights *weights);

#endif /* EDGECOMP_SRC_HOST_WEIGHTS_H */
