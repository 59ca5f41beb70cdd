/* Tensors that the CPU and a device with the same memory use in turns, without copies.
 *
 * The buffer of such a tensor is its memory in the session's arena. While the CPU may use it
 * the buffer is mapped, while the device may it is not: a copy to the device unmaps it, one
 * from the device maps it, and between runs all are mapped. The driver keeps the caches of
 * both in step.
 */
#ifndef EDGECOMP_SRC_DEVICE_OPENCL_SHARING_H
#define EDGECOMP_SRC_DEVICE_OPENCL_SHARING_H

#include <stdint.h>

#include "device/opencl/buffers.h"
#include "device/opencl/cl.h"
#include "edgecomp/edgecomp.h"

/* Find those that are to be shared, before their buffers are made: tensors of copies, whose
 * memory in the arena no other tensor of a copy has at another time. None where the device has
 * memory of its own. */
void ec_cl_find_shared(ec_cl_buffers *buffers, const ec_model *model);

/* Hand a tensor to the CPU, or to the device; nothing to do where it is there or not shared.
 * `event` is that of the command, untouched without one; it may be NULL. */
cl_int ec_cl_to_cpu(const ec_cl_buffers *buffers, const ec_model *model,
                    cl_command_queue queue, uint32_t tensor, cl_event *event);
cl_int ec_cl_to_device(const ec_cl_buffers *buffers, cl_command_queue queue, uint32_t tensor,
                       cl_event *event);

/* Hand all of them to the CPU. */
cl_int ec_cl_all_to_cpu(const ec_cl_buffers *buffers, const ec_model *model,
                        cl_command_queue queue);

#endif /* EDGECOMP_SRC_DEVICE_OPENCL_SHARING_H */
