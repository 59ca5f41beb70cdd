/* Calls given to the session's stream: kernels, and copies between its memory and the pinned
 * one. */
#ifndef EDGECOMP_SRC_DEVICE_CUDA_CUDA_CALLS_H
#define EDGECOMP_SRC_DEVICE_CUDA_CUDA_CALLS_H

#include <stdint.h>

#include "device/cuda/cuda_state.h"
#include "edgecomp/edgecomp.h"

/* Give a call to the stream, with the sizes of now. One that has nothing to do gives nothing.
 */
EC_MUST_CHECK ec_status ec_cu_enqueue(const ec_cu_state *state, uint32_t call);

#endif /* EDGECOMP_SRC_DEVICE_CUDA_CUDA_CALLS_H */
