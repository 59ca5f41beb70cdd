#include "exec/sizes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/extent.h"
#include "edgecomp/model.h"

static uint32_t size_count(const ec_model *model) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < model->call_count; ++i) {
    count += model->dynamic->calls[i].size_count;
  }
  return count;
}

uint64_t ec_sizes_bytes(const ec_model *model) {
  if (model->dynamic == NULL) {
    return 0;
  }
  return (uint64_t)model->dynamic->symbol_count * sizeof(int64_t) +
         (uint64_t)model->call_count * (sizeof(int32_t) + sizeof(uint32_t)) +
         (uint64_t)size_count(model) * sizeof(int32_t);
}

void ec_sizes_place(const ec_model *model, void *memory, ec_sizes *out_sizes) {
  const ec_dynamic *dynamic = model->dynamic;
  out_sizes->model = model;
  out_sizes->symbols = memory;
  void *items = out_sizes->symbols + dynamic->symbol_count;
  out_sizes->items = items;
  void *first_size = out_sizes->items + model->call_count;
  out_sizes->first_size = first_size;
  void *sizes = out_sizes->first_size + model->call_count;
  out_sizes->sizes = sizes;
  for (uint32_t i = 0; i < dynamic->symbol_count; ++i) {
    out_sizes->symbols[i] = dynamic->symbols[i].maximum;
  }
  uint32_t next = 0;
  for (uint32_t i = 0; i < model->call_count; ++i) {
    out_sizes->first_size[i] = next;
    next += dynamic->calls[i].size_count;
  }
  ec_sizes_update(out_sizes);
}

void ec_sizes_update(ec_sizes *sizes) {
  const ec_model *model = sizes->model;
  const ec_dynamic *dynamic = model->dynamic;
  for (uint32_t i = 0; i < dynamic->symbol_count; ++i) {
    const ec_symbol *symbol = &dynamic->symbols[i];
    if (symbol->derived != NULL) {
      int64_t value = ec_extent_value(symbol->derived, sizes->symbols);
      sizes->symbols[i] = value < symbol->maximum ? value : symbol->maximum;
    }
  }
  for (uint32_t i = 0; i < model->call_count; ++i) {
    const ec_dynamic_call *call = &dynamic->calls[i];
    int64_t items = (int64_t)model->calls[i].work_items;
    if (call->items != NULL && model->calls[i].device == EC_DEVICE_CPU) {
      int64_t count = ec_extent_value(call->items, sizes->symbols);
      items = call->strides != NULL ? count * items : count;
    }
    sizes->items[i] = (int32_t)items;
    for (uint32_t k = 0; k < call->size_count; ++k) {
      sizes->sizes[sizes->first_size[i] + k] =
          (int32_t)ec_extent_value(&call->sizes[k], sizes->symbols);
    }
  }
}

const ec_dynamic_call *ec_sizes_of_launch(const ec_sizes *sizes, uint32_t call) {
  if (sizes == NULL || sizes->model->dynamic->calls[call].items == NULL) {
    return NULL;
  }
  return &sizes->model->dynamic->calls[call];
}

bool ec_sizes_groups(const ec_sizes *sizes, const ec_model *model, uint32_t call,
                     uint32_t out_groups[3]) {
  const ec_dynamic_call *dynamic = ec_sizes_of_launch(sizes, call);
  const ec_launch *launch = model->calls[call].launch;
  bool is_any = true;
  for (uint32_t d = 0; d < 3; ++d) {
    out_groups[d] = dynamic != NULL
                        ? (uint32_t)ec_extent_value(&dynamic->items[d], sizes->symbols)
                        : launch->global_sizes[d] / launch->local_sizes[d];
    is_any = is_any && out_groups[d] != 0;
  }
  return is_any;
}

uint64_t ec_sizes_copied(const ec_sizes *sizes, const ec_model *model, uint32_t call) {
  const ec_dynamic_call *dynamic = ec_sizes_of_launch(sizes, call);
  uint64_t most = model->tensors[model->calls[call].tensors[0]].bytes;
  if (dynamic == NULL) {
    return most;
  }
  uint64_t bytes = (uint64_t)ec_extent_value(dynamic->items, sizes->symbols);
  return bytes < most ? bytes : most;
}
