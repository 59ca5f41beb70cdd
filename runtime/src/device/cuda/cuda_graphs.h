/* Graphs of a model's parts: of calls that always follow each other.
 *
 * A part whose calls are the same in every run has one graph, recorded when the session is
 * opened. Of one whose sizes differ from run to run a graph has one run's: it is recorded when
 * sizes come for the second time, so that those which come once cost nothing, and goes when it
 * is the one that was used least recently and others came twice since. Addresses are the same
 * at all sizes.
 */
#ifndef EDGECOMP_SRC_DEVICE_CUDA_CUDA_GRAPHS_H
#define EDGECOMP_SRC_DEVICE_CUDA_CUDA_GRAPHS_H

#include <stdint.h>

#include "device/cuda/cu.h"
#include "device/cuda/cuda_state.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

/* Of a part: graphs that it has at most, and sizes that it knows at most, those of its graphs
 * included. */
#define EC_CU_MOST_GRAPHS 8u
#define EC_CU_MOST_SIZES 16u

/* Bytes of memory for ec_cu_graphs_place, a multiple of 8; UINT64_MAX for more than there are.
 */
uint64_t ec_cu_graphs_bytes(const ec_model *model);

/* Divide the memory, zeroed, among the parts of the session's model; nothing is recorded. */
void ec_cu_graphs_place(ec_cu_state *state, uint64_t *memory);

/* After a call was prepared, in the order of calls: record the part that ends with it, where
 * its calls are the same in every run. */
EC_MUST_CHECK ec_status ec_cu_graphs_prepare(ec_cu_state *state, uint32_t call);

/* The graph of calls [first, end) with the sizes of now, recorded where it is time to. NULL
 * where they are to be started one by one: they are not a part, their sizes are new, or the
 * device has no memory for another graph. */
EC_MUST_CHECK ec_status ec_cu_graphs_find(ec_cu_state *state, uint32_t first, uint32_t end,
                                          cu_graph_run *out_graph);

/* Give all graphs back; none of them runs any more. */
void ec_cu_graphs_release(const ec_cu_state *state);

#endif /* EDGECOMP_SRC_DEVICE_CUDA_CUDA_GRAPHS_H */
