#include "core/dynamic_check.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/checked.h"
#include "core/dtype.h"
#include "core/extent.h"
#include "core/message.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

static ec_status bad_symbol(const ec_model *model, uint32_t index) {
  return EC_FAIL(EC_ERROR_DESCRIPTOR, "dimension %" PRIu32 " of '%s' has no sound bounds",
                 index, model->name);
}

static ec_status check_symbol(const ec_model *model, uint32_t index) {
  const ec_symbol *symbol = &model->dynamic->symbols[index];
  if (symbol->name == NULL || symbol->minimum < 0 || symbol->maximum < symbol->minimum ||
      symbol->maximum > INT32_MAX || symbol->is_counted > 1 || symbol->reserved != 0) {
    return bad_symbol(model, index);
  }
  if (symbol->is_counted != 0) {
    return symbol->derived == NULL ? EC_OK : bad_symbol(model, index);
  }
  if (symbol->derived == NULL) {
    return symbol->minimum != 0 ? EC_OK : bad_symbol(model, index);
  }
  int64_t low = 0;
  int64_t high = 0;
  if (!ec_extent_bounds(symbol->derived, model->dynamic->symbols, index, &low, &high) ||
      low < symbol->minimum) {
    return bad_symbol(model, index);
  }
  return EC_OK;
}

/* Whether an extent is at most `most` for all sizes. */
static bool is_within(const ec_model *model, const ec_extent *extent, int64_t most) {
  int64_t low = 0;
  int64_t high = 0;
  const ec_dynamic *dynamic = model->dynamic;
  return ec_extent_bounds(extent, dynamic->symbols, dynamic->symbol_count, &low, &high) &&
         high <= most;
}

/* Whether repetitions begin within a tensor and end within its storage: the last may go on
 * behind the tensor, where the plan has left as much room. */
static bool is_repeatable(const ec_model *model, const ec_tensor *tensor, uint64_t stride,
                          uint64_t repetitions) {
  uint64_t capacity =
      tensor->storage == EC_STORAGE_ARENA ? model->arena_bytes : model->weights_bytes;
  uint64_t reach = 0; /* of the last repetition */
  uint64_t end = 0;
  return repetitions == 0 ||
         (ec_multiply(stride, repetitions - 1, &reach) && reach <= tensor->bytes &&
          ec_add(tensor->offset_bytes + reach, stride, &end) && end <= capacity);
}

static ec_status check_strides(const ec_model *model, uint32_t index, int64_t repetitions) {
  const ec_call *call = &model->calls[index];
  for (uint32_t i = 0; i < call->pointer_count; ++i) {
    const ec_tensor *tensor = &model->tensors[call->tensors[i]];
    if (!is_repeatable(model, tensor, model->dynamic->calls[index].strides[i],
                       (uint64_t)repetitions)) {
      return EC_FAIL(EC_ERROR_DESCRIPTOR, "call %" PRIu32 " (%s) repeats beyond tensor '%s'",
                     index, call->operator_name, tensor->name);
    }
  }
  return EC_OK;
}

/* Whether a call for a device has the groups that its launch has at most. Of a copy's bytes
 * the bounds may be less exact than the tensor's shape: it ends where the tensor does. */
static bool is_launchable(const ec_model *model, uint32_t index) {
  const ec_dynamic_call *sized = &model->dynamic->calls[index];
  const ec_call *call = &model->calls[index];
  const ec_launch *launch = call->launch;
  if (sized->strides != NULL) {
    return false;
  }
  if (launch->kind != EC_LAUNCH_KERNEL) {
    return sized->size_count == 0 && is_within(model, sized->items, INT64_MAX);
  }
  bool fits = sized->size_count <= EC_MAX_LAUNCH_CONSTANTS - launch->constant_count;
  for (uint32_t d = 0; fits && d < 3; ++d) {
    fits =
        is_within(model, &sized->items[d], launch->global_sizes[d] / launch->local_sizes[d]);
  }
  return fits;
}

/* Whether what a call does never exceeds what the plan has for it. */
static bool is_bounded(const ec_model *model, uint32_t index) {
  const ec_dynamic_call *sized = &model->dynamic->calls[index];
  const ec_call *call = &model->calls[index];
  if (call->device != EC_DEVICE_CPU) {
    return is_launchable(model, index);
  }
  int64_t most = sized->strides != NULL ? INT32_MAX / (int64_t)call->work_items
                                        : (int64_t)call->work_items;
  return is_within(model, sized->items, most);
}

static ec_status check_call(const ec_model *model, uint32_t index) {
  const ec_call *call = &model->calls[index];
  const ec_dynamic_call *sized = &model->dynamic->calls[index];
  bool is_present = sized->sizes != NULL || sized->size_count == 0;
  if (sized->reserved != 0 || !is_present ||
      (sized->items == NULL && (sized->strides != NULL || sized->size_count != 0)) ||
      (sized->items != NULL && call->first_item != 0)) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "the sizes of call %" PRIu32 " (%s) are malformed",
                   index, call->operator_name);
  }
  if (sized->items == NULL) {
    return EC_OK;
  }
  bool fits = is_bounded(model, index);
  for (uint32_t i = 0; fits && i < sized->size_count; ++i) {
    fits = is_within(model, &sized->sizes[i], INT32_MAX);
  }
  if (!fits) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "a size of call %" PRIu32 " (%s) can be too large",
                   index, call->operator_name);
  }
  int64_t low = 0;
  int64_t high = 0;
  (void)ec_extent_bounds(sized->items, model->dynamic->symbols, model->dynamic->symbol_count,
                         &low, &high);
  return sized->strides != NULL ? check_strides(model, index, high) : EC_OK;
}

/* Whether the elements of a port's shapes never take more than its tensor's bytes. */
static bool fits_tensor(const ec_model *model, const ec_port *port, const ec_extent *shape) {
  uint64_t bytes = ec_dtype_bytes(port->dtype);
  for (uint32_t d = 0; d < port->rank; ++d) {
    int64_t low = 0;
    int64_t high = 0;
    if (!ec_extent_bounds(&shape[d], model->dynamic->symbols, model->dynamic->symbol_count,
                          &low, &high) ||
        high > port->shape[d] || !ec_multiply(bytes, (uint64_t)high, &bytes)) {
      return false;
    }
  }
  return bytes <= model->tensors[port->tensor].bytes;
}

/* An input's dimension is the constant of its shape, or a factor times a symbol it sets. */
static bool is_settable(const ec_dynamic *dynamic, const ec_extent *extent, int64_t constant) {
  if (extent->divisor != 1 || extent->term_count != 1) {
    return false;
  }
  const ec_term *term = &extent->terms[0];
  if (term->symbol_count == 0) {
    return term->factor == constant;
  }
  const ec_symbol *symbol = &dynamic->symbols[term->symbols[0]];
  return term->symbol_count == 1 && term->factor >= 1 && symbol->derived == NULL &&
         symbol->is_counted == 0;
}

static ec_status check_ports(const ec_model *model, const ec_port *ports, uint32_t count,
                             const ec_extent *const *shapes, bool settable) {
  for (uint32_t i = 0; i < count; ++i) {
    const ec_extent *shape = shapes[i];
    bool fits = shape == NULL || fits_tensor(model, &ports[i], shape);
    for (uint32_t d = 0; fits && shape != NULL && settable && d < ports[i].rank; ++d) {
      fits = is_settable(model->dynamic, &shape[d], ports[i].shape[d]);
    }
    if (!fits) {
      return EC_FAIL(EC_ERROR_DESCRIPTOR, "the dynamic shape of port '%s' is malformed",
                     ports[i].name);
    }
  }
  return EC_OK;
}

static bool is_in_region(const ec_model *model, uint32_t call) {
  for (uint32_t i = 0; i < model->region_count; ++i) {
    if (model->regions[i].first_call <= call && call < model->regions[i].end_call) {
      return true;
    }
  }
  return false;
}

static bool is_count(const ec_model *model, const ec_count *count) {
  if (count->symbol >= model->dynamic->symbol_count || count->call >= model->call_count ||
      count->tensor >= model->tensor_count || count->reserved != 0) {
    return false;
  }
  const ec_tensor *tensor = &model->tensors[count->tensor];
  return model->dynamic->symbols[count->symbol].is_counted != 0 &&
         tensor->dtype == EC_DTYPE_INT64 && tensor->bytes == sizeof(int64_t) &&
         tensor->storage == EC_STORAGE_ARENA && model->calls[count->call].strip == 0 &&
         !is_in_region(model, count->call);
}

/* Each counted symbol has one count, and the counts are in the order of their calls. */
static ec_status check_counts(const ec_model *model) {
  const ec_dynamic *dynamic = model->dynamic;
  uint32_t counted = 0;
  for (uint32_t i = 0; i < dynamic->symbol_count; ++i) {
    counted += dynamic->symbols[i].is_counted;
  }
  bool is_good = counted == dynamic->count_count && (dynamic->counts != NULL || counted == 0);
  for (uint32_t i = 0; is_good && i < counted; ++i) {
    const ec_count *count = &dynamic->counts[i];
    is_good = is_count(model, count) && (i == 0 || count[-1].call <= count->call);
    for (uint32_t before = 0; is_good && before < i; ++before) {
      is_good = dynamic->counts[before].symbol != count->symbol;
    }
  }
  if (!is_good) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "the counts of '%s' are malformed", model->name);
  }
  return EC_OK;
}

/* Whether the sizes of all calls can be numbered. */
static bool is_countable(const ec_model *model) {
  uint64_t count = 0;
  for (uint32_t i = 0; i < model->call_count && count <= UINT32_MAX; ++i) {
    count += model->dynamic->calls[i].size_count;
  }
  return count <= UINT32_MAX;
}

ec_status ec_dynamic_check(const ec_model *model) {
  const ec_dynamic *dynamic = model->dynamic;
  if (dynamic == NULL) {
    return EC_OK;
  }
  if (dynamic->symbols == NULL || dynamic->symbol_count == 0 ||
      (dynamic->calls == NULL && model->call_count != 0) ||
      (dynamic->inputs == NULL && model->input_count != 0) ||
      (dynamic->outputs == NULL && model->output_count != 0)) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "the dynamic part of '%s' lacks a table", model->name);
  }
  if (!is_countable(model)) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "the calls of '%s' have more sizes than there can be",
                   model->name);
  }
  ec_status status = EC_OK;
  for (uint32_t i = 0; status == EC_OK && i < dynamic->symbol_count; ++i) {
    status = check_symbol(model, i);
  }
  if (status == EC_OK) {
    status = check_counts(model);
  }
  for (uint32_t i = 0; status == EC_OK && i < model->call_count; ++i) {
    status = check_call(model, i);
  }
  if (status == EC_OK) {
    status = check_ports(model, model->inputs, model->input_count, dynamic->inputs, true);
  }
  if (status == EC_OK) {
    status = check_ports(model, model->outputs, model->output_count, dynamic->outputs, false);
  }
  return status;
}
