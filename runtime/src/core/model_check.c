#include "core/model_check.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/checked.h"
#include "core/cpu_plan_check.h"
#include "core/dtype.h"
#include "core/dynamic_check.h"
#include "core/launch_check.h"
#include "core/message.h"
#include "core/region_check.h"
#include "core/strips.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

static ec_status check_version(const ec_model *model) {
  if (model->magic != EC_MODEL_MAGIC) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "not a model descriptor: it starts with 0x%08" PRIx32,
                   model->magic);
  }
  if (model->abi_version != EC_MODEL_ABI_VERSION) {
    return EC_FAIL(EC_ERROR_VERSION,
                   "the model has descriptor version %" PRIu32 ", this runtime reads %u",
                   model->abi_version, EC_MODEL_ABI_VERSION);
  }
  if (model->struct_bytes != sizeof(ec_model)) {
    return EC_FAIL(EC_ERROR_VERSION,
                   "the model's descriptor has %" PRIu64 " bytes, this runtime reads %zu",
                   model->struct_bytes, sizeof(ec_model));
  }
  return EC_OK;
}

/* Whether an array of `count` entries is really there. */
static bool is_present(const void *array, uint32_t count) {
  return array != NULL || count == 0;
}

static ec_status check_head(const ec_model *model) {
  if (model->name == NULL || model->target == NULL || model->required_features == NULL) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "the descriptor lacks its name, target or features");
  }
  if (!is_present(model->tensors, model->tensor_count) ||
      !is_present(model->calls, model->call_count) ||
      !is_present(model->inputs, model->input_count) ||
      !is_present(model->outputs, model->output_count)) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "model '%s' lacks one of its tables", model->name);
  }
  if (model->output_count == 0) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "model '%s' has no output", model->name);
  }
  if (!ec_is_aligned(model->embedded_weights)) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "the embedded weights of '%s' are not aligned to %u",
                   model->name, EC_ALIGNMENT_BYTES);
  }
  for (size_t i = 0; i < sizeof model->reserved / sizeof model->reserved[0]; ++i) {
    if (model->reserved[i] != 0) {
      return EC_FAIL(EC_ERROR_DESCRIPTOR, "a reserved field of '%s' is not zero", model->name);
    }
  }
  return EC_OK;
}

/* Bytes of the memory that a tensor lies in. */
static bool storage_bytes(const ec_model *model, uint32_t storage, uint64_t *out_bytes) {
  switch ((ec_storage)storage) {
    case EC_STORAGE_ARENA:
      *out_bytes = model->arena_bytes;
      return true;
    case EC_STORAGE_WEIGHTS:
      *out_bytes = model->weights_bytes;
      return true;
  }
  return false;
}

static ec_status check_tensor(const ec_model *model, uint32_t index) {
  const ec_tensor *tensor = &model->tensors[index];
  if (tensor->name == NULL) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "tensor %" PRIu32 " has no name", index);
  }
  if (ec_dtype_bytes(tensor->dtype) == 0) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "tensor '%s' has unknown element type %" PRIu32,
                   tensor->name, tensor->dtype);
  }
  uint64_t capacity = 0;
  if (!storage_bytes(model, tensor->storage, &capacity)) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "tensor '%s' has unknown storage %" PRIu32,
                   tensor->name, tensor->storage);
  }
  if (tensor->offset_bytes % EC_ALIGNMENT_BYTES != 0) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR,
                   "tensor '%s' is at offset %" PRIu64 ", which is not a multiple of %u",
                   tensor->name, tensor->offset_bytes, EC_ALIGNMENT_BYTES);
  }
  uint64_t end = 0;
  if (!ec_add(tensor->offset_bytes, tensor->bytes, &end) ||
      !ec_add(end, EC_SLACK_BYTES, &end) || end > capacity) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR,
                   "tensor '%s' (%" PRIu64 " bytes at %" PRIu64
                   " and %u more) ends outside its storage of %" PRIu64 " bytes",
                   tensor->name, tensor->bytes, tensor->offset_bytes, EC_SLACK_BYTES,
                   capacity);
  }
  return EC_OK;
}

static ec_status check_call_tensors(const ec_model *model, uint32_t index) {
  const ec_call *call = &model->calls[index];
  if (call->pointer_count == 0 || call->pointer_count > EC_MAX_KERNEL_POINTERS) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR,
                   "call %" PRIu32 " (%s) has %" PRIu32 " pointers, not 1 to %d", index,
                   call->operator_name, call->pointer_count, EC_MAX_KERNEL_POINTERS);
  }
  if (call->tensors == NULL) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "call %" PRIu32 " (%s) lacks its tensors", index,
                   call->operator_name);
  }
  for (uint32_t i = 0; i < call->pointer_count; ++i) {
    if (call->tensors[i] >= model->tensor_count) {
      return EC_FAIL(EC_ERROR_DESCRIPTOR,
                     "call %" PRIu32 " (%s) uses tensor %" PRIu32 " of %" PRIu32, index,
                     call->operator_name, call->tensors[i], model->tensor_count);
    }
  }
  return EC_OK;
}

static ec_status check_call(const ec_model *model, uint32_t index) {
  const ec_call *call = &model->calls[index];
  if (call->operator_name == NULL || call->schedule == NULL || call->nodes == NULL ||
      call->source == NULL) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "call %" PRIu32 " lacks a text", index);
  }
  if (call->device >= EC_DEVICE_COUNT) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "call %" PRIu32 " (%s) is for unknown device %" PRIu32,
                   index, call->operator_name, call->device);
  }
  if (call->kernel == NULL && call->device == EC_DEVICE_CPU) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "call %" PRIu32 " (%s) has no kernel", index,
                   call->operator_name);
  }
  if (call->work_items == 0 || call->work_items > INT32_MAX) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "call %" PRIu32 " (%s) has %" PRIu32 " work items",
                   index, call->operator_name, call->work_items);
  }
  if (call->first_item > INT32_MAX - call->work_items) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "call %" PRIu32 " (%s) begins at work item %" PRIu32,
                   index, call->operator_name, call->first_item);
  }
  if (call->workspace_bytes > model->workspace_bytes) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR,
                   "call %" PRIu32 " (%s) wants %" PRIu64
                   " bytes of workspace, the model has %" PRIu64,
                   index, call->operator_name, call->workspace_bytes, model->workspace_bytes);
  }
  ec_status status = check_call_tensors(model, index);
  return status == EC_OK ? ec_launch_check(model, index) : status;
}

/* Whether the last call of the group that begins here is of the last strip, of two or more. */
static bool ends_in_last_strip(const ec_model *model, uint32_t first) {
  uint32_t most = model->calls[first].strip;
  uint32_t last = first;
  while (ec_strips_go_on(model, last + 1)) {
    ++last;
    most = most < model->calls[last].strip ? model->calls[last].strip : most;
  }
  return most > 1 && model->calls[last].strip == most;
}

/* See ec_call.strip. */
static ec_status check_strip(const ec_model *model, uint32_t index) {
  const ec_call *call = &model->calls[index];
  uint32_t flags = call->strip_flags;
  bool begins = (flags & EC_STRIP_BEGINS) != 0;
  uint32_t known = EC_STRIP_BEGINS | EC_STRIP_SEAM | EC_STRIP_MEETS;
  known |= begins ? EC_STRIP_SHORT : 0;
  bool follows = index > 0 && model->calls[index - 1].strip != 0;
  bool is_right = flags == 0;
  if (call->strip != 0) {
    is_right = (flags & ~known) == 0 && (begins || follows) && call->strip <= EC_MAX_STRIPS &&
               (call->strip > 1 || (flags & EC_STRIP_SEAM) == 0);
  }
  if (!is_right || (begins && !ends_in_last_strip(model, index))) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR,
                   "call %" PRIu32 " (%s) is in strip %" PRIu32 " with flags %" PRIu32
                   ", which does not fit the calls beside it",
                   index, call->operator_name, call->strip, flags);
  }
  return EC_OK;
}

/* Bytes of a contiguous array; false when a dimension is negative or the product too large. */
static bool contiguous_bytes(const ec_port *port, uint64_t *out_bytes) {
  uint64_t bytes = ec_dtype_bytes(port->dtype);
  for (uint32_t d = 0; d < port->rank; ++d) {
    if (port->shape[d] < 0 || !ec_multiply(bytes, (uint64_t)port->shape[d], &bytes)) {
      return false;
    }
  }
  *out_bytes = bytes;
  return true;
}

static ec_status check_port(const ec_model *model, const ec_port *port) {
  if (port->name == NULL) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "an input or output of '%s' has no name", model->name);
  }
  if (port->tensor >= model->tensor_count) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "port '%s' is tensor %" PRIu32 " of %" PRIu32,
                   port->name, port->tensor, model->tensor_count);
  }
  const ec_tensor *tensor = &model->tensors[port->tensor];
  if (port->rank > EC_MAX_RANK || port->reserved != 0) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "port '%s' has rank %" PRIu32 ", at most %d",
                   port->name, port->rank, EC_MAX_RANK);
  }
  if (port->dtype != tensor->dtype) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR,
                   "port '%s' has element type %" PRIu32 ", its tensor %" PRIu32, port->name,
                   port->dtype, tensor->dtype);
  }
  uint64_t bytes = 0;
  if (!contiguous_bytes(port, &bytes) || bytes != tensor->bytes) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR,
                   "the shape of port '%s' does not make its tensor's %" PRIu64 " bytes",
                   port->name, tensor->bytes);
  }
  return EC_OK;
}

static ec_status check_names_differ(const ec_port *ports, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    for (uint32_t j = i + 1; j < count; ++j) {
      if (strcmp(ports[i].name, ports[j].name) == 0) {
        return EC_FAIL(EC_ERROR_DESCRIPTOR, "two ports are named '%s'", ports[i].name);
      }
    }
  }
  return EC_OK;
}

static bool is_overlapping(const ec_tensor *a, const ec_tensor *b) {
  return a->offset_bytes < b->offset_bytes + b->bytes &&
         b->offset_bytes < a->offset_bytes + a->bytes;
}

/* Inputs are all filled before a run: each has arena memory of its own. */
static ec_status check_inputs_apart(const ec_model *model) {
  for (uint32_t i = 0; i < model->input_count; ++i) {
    const ec_tensor *tensor = &model->tensors[model->inputs[i].tensor];
    if (tensor->storage != EC_STORAGE_ARENA) {
      return EC_FAIL(EC_ERROR_DESCRIPTOR, "input '%s' is not in the arena",
                     model->inputs[i].name);
    }
    for (uint32_t j = 0; j < i; ++j) {
      if (is_overlapping(tensor, &model->tensors[model->inputs[j].tensor])) {
        return EC_FAIL(EC_ERROR_DESCRIPTOR, "inputs '%s' and '%s' share memory",
                       model->inputs[j].name, model->inputs[i].name);
      }
    }
  }
  return EC_OK;
}

static ec_status check_ports(const ec_model *model, const ec_port *ports, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    ec_status status = check_port(model, &ports[i]);
    if (status != EC_OK) {
      return status;
    }
  }
  return check_names_differ(ports, count);
}

/* Everything of a descriptor but its CPU plan. */
static ec_status check_plan(const ec_model *model) {
  ec_status status = check_version(model);
  if (status == EC_OK) {
    status = check_head(model);
  }
  if (status == EC_OK) {
    status = ec_programs_check(model);
  }
  for (uint32_t i = 0; status == EC_OK && i < model->tensor_count; ++i) {
    status = check_tensor(model, i);
  }
  for (uint32_t i = 0; status == EC_OK && i < model->call_count; ++i) {
    status = check_call(model, i);
  }
  for (uint32_t i = 0; status == EC_OK && i < model->call_count; ++i) {
    status = check_strip(model, i);
  }
  if (status == EC_OK) {
    status = ec_regions_check(model);
  }
  if (status == EC_OK) {
    status = check_ports(model, model->inputs, model->input_count);
  }
  if (status == EC_OK) {
    status = check_ports(model, model->outputs, model->output_count);
  }
  if (status == EC_OK) {
    status = check_inputs_apart(model);
  }
  return status == EC_OK ? ec_dynamic_check(model) : status;
}

ec_status ec_model_check(const ec_model *model) {
  if (model == NULL) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "no model was given");
  }
  ec_status status = check_plan(model);
  if (status != EC_OK || model->cpu_plan == NULL) {
    return status;
  }
  status = check_plan(model->cpu_plan);
  return status == EC_OK ? ec_cpu_plan_check(model) : status;
}
