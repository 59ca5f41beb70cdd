#include "core/region_check.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/message.h"
#include "core/strips.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

/* Whether a region names a tensor of this type, in memory that the runtime may write. */
static bool is_tensor(const ec_model *model, uint32_t index, ec_dtype dtype, uint64_t bytes,
                      bool is_written) {
  if (index >= model->tensor_count) {
    return false;
  }
  const ec_tensor *tensor = &model->tensors[index];
  return tensor->dtype == dtype && tensor->bytes == bytes &&
         (!is_written || tensor->storage == EC_STORAGE_ARENA);
}

static bool is_condition(const ec_model *model, uint32_t index) {
  return is_tensor(model, index, EC_DTYPE_BOOL, 1, false);
}

static bool is_branch(const ec_model *model, const ec_region *region) {
  return is_condition(model, region->condition) && region->expected <= 1 &&
         region->limit == EC_NO_TENSOR && region->counter == EC_NO_TENSOR &&
         region->most_rounds == 0;
}

static bool is_loop(const ec_model *model, const ec_region *region) {
  bool has_condition = region->condition != EC_NO_TENSOR;
  bool has_limit = region->limit != EC_NO_TENSOR;
  return (has_condition || has_limit) && region->expected == 1 &&
         (!has_condition || is_condition(model, region->condition)) &&
         (!has_limit || is_tensor(model, region->limit, EC_DTYPE_INT64, 8, false)) &&
         (region->counter == EC_NO_TENSOR ||
          is_tensor(model, region->counter, EC_DTYPE_INT64, 8, true)) &&
         region->most_rounds <= INT64_MAX;
}

static ec_status check_region(const ec_model *model, uint32_t index) {
  const ec_region *region = &model->regions[index];
  if (region->first_call >= region->end_call || region->end_call > model->call_count) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR,
                   "region %" PRIu32 " is calls %" PRIu32 " to %" PRIu32 " of %" PRIu32, index,
                   region->first_call, region->end_call, model->call_count);
  }
  if (ec_strips_go_on(model, region->first_call) || ec_strips_go_on(model, region->end_call)) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR,
                   "region %" PRIu32 " begins or ends within a group of strips", index);
  }
  bool is_good = false;
  switch (region->kind) {
    case EC_REGION_BRANCH:
    case EC_REGION_REQUIRED:
      is_good = is_branch(model, region);
      break;
    case EC_REGION_LOOP:
      is_good = is_loop(model, region);
      break;
    default:
      return EC_FAIL(EC_ERROR_DESCRIPTOR, "region %" PRIu32 " is of unknown kind %" PRIu32,
                     index, region->kind);
  }
  if (!is_good || region->reserved != 0) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR,
                   "region %" PRIu32 " names a tensor or a value that a %s cannot have", index,
                   region->kind == EC_REGION_LOOP ? "loop" : "branch");
  }
  return EC_OK;
}

/* Each region begins where the one before it does or later, and ends within those it is in. */
static ec_status check_nesting(const ec_model *model) {
  uint32_t ends[EC_MAX_REGION_DEPTH];
  uint32_t depth = 0;
  uint32_t first = 0;
  for (uint32_t i = 0; i < model->region_count; ++i) {
    const ec_region *region = &model->regions[i];
    while (depth != 0 && ends[depth - 1] <= region->first_call) {
      --depth;
    }
    if (region->first_call < first || (depth != 0 && region->end_call > ends[depth - 1])) {
      return EC_FAIL(EC_ERROR_DESCRIPTOR,
                     "region %" PRIu32 " is out of order or half inside another", i);
    }
    if (depth == EC_MAX_REGION_DEPTH) {
      return EC_FAIL(EC_ERROR_DESCRIPTOR, "region %" PRIu32 " is inside more than %d others",
                     i, EC_MAX_REGION_DEPTH);
    }
    first = region->first_call;
    ends[depth++] = region->end_call;
  }
  return EC_OK;
}

ec_status ec_regions_check(const ec_model *model) {
  if (model->regions == NULL && model->region_count != 0) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "model '%s' lacks its regions", model->name);
  }
  for (uint32_t i = 0; i < model->region_count; ++i) {
    ec_status status = check_region(model, i);
    if (status != EC_OK) {
      return status;
    }
  }
  return check_nesting(model);
}
