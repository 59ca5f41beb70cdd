/* Shapes of ports at the sizes that a session has now. */
#ifndef EDGECOMP_SRC_HOST_SHAPES_H
#define EDGECOMP_SRC_HOST_SHAPES_H

#include <stdint.h>

#include "edgecomp/edgecomp.h"

/* Bytes of input `index`, which exists. */
uint64_t ec_input_bytes(const ec_session *session, uint32_t index);

/* Bytes of output `index`, which exists. */
uint64_t ec_output_bytes(const ec_session *session, uint32_t index);

#endif /* EDGECOMP_SRC_HOST_SHAPES_H */
