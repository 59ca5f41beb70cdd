/* The CPU back end: kernels are functions of the program, sliced over the session's pool. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/features.h"
#include "core/message.h"
#include "device/backends.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/device.h"
#include "exec/invoke.h"
#include "exec/pool.h"
#include "exec/sizes.h"
#include "platform/clock.h"
#include "platform/cpu_features.h"
#include "platform/thread.h"

/* Followed in memory by the calls' pointers: EC_MAX_KERNEL_POINTERS for each call. */
typedef struct cpu_state {
  ec_device_context context;
  void *pointers[];
} cpu_state;

/* One call while the pool slices it. */
typedef struct cpu_launch {
  const cpu_state *state;
  const ec_call *call;
  void *const *pointers;
  const ec_dynamic_call *sized; /* NULL where the call is the same in each run */
  int32_t *sizes;               /* of a dynamic call: what the kernel reads */
  int32_t items;                /* of this run; 0: nothing to do */
} cpu_launch;

static ec_status cpu_probe(const ec_model *model, const ec_open_options *options) {
  (void)options;
  const char *name = NULL;
  size_t length = ec_feature_missing(model->required_features, ec_cpu_features(), &name);
  if (length != 0) {
    return EC_FAIL(EC_ERROR_CPU_FEATURE,
                   "this processor has no '%.*s', which model '%s' for target '%s' uses",
                   (int)length, name, model->name, model->target);
  }
  return EC_OK;
}

static uint64_t cpu_state_bytes(const ec_model *model) {
  return sizeof(cpu_state) +
         (uint64_t)model->call_count * EC_MAX_KERNEL_POINTERS * sizeof(void *);
}

static ec_status cpu_open(const ec_device_context *context, void *state) {
  ((cpu_state *)state)->context = *context;
  return EC_OK;
}

static void **call_pointers(cpu_state *state, uint32_t call) {
  return &state->pointers[(size_t)call * EC_MAX_KERNEL_POINTERS];
}

/* Address of a tensor. Kernels take plain pointers and only read those to weights. */
static void *tensor_address(const ec_device_context *context, uint32_t index) {
  const ec_tensor *tensor = &context->model->tensors[index];
  size_t offset = (size_t)tensor->offset_bytes;
  if (tensor->storage == EC_STORAGE_WEIGHTS) {
    return (void *)(uintptr_t)(context->weights + offset);
  }
  return context->arena + offset;
}

static ec_status cpu_prepare(void *opaque, uint32_t index) {
  cpu_state *state = opaque;
  const ec_call *call = &state->context.model->calls[index];
  void **pointers = call_pointers(state, index);
  for (uint32_t i = 0; i < call->pointer_count; ++i) {
    pointers[i] = tensor_address(&state->context, call->tensors[i]);
  }
  return EC_OK;
}

/* What one call does in this run. */
static cpu_launch launch_of(cpu_state *state, uint32_t index) {
  const ec_model *model = state->context.model;
  const ec_call *call = &model->calls[index];
  cpu_launch launch = {state, call, call_pointers(state, index),
                       NULL,  NULL, (int32_t)call->work_items};
  if (model->dynamic != NULL && model->dynamic->calls[index].items != NULL) {
    const ec_sizes *sizes = state->context.sizes;
    launch.sized = &model->dynamic->calls[index];
    launch.sizes = sizes->sizes + sizes->first_size[index];
    launch.items = sizes->items[index];
  }
  return launch;
}

/* Call the kernel; behind its pointers, for which `pointers` has room, come the workspace and
 * the sizes. */
static void call_kernel(const cpu_launch *launch, void **pointers, uint32_t thread, int32_t lo,
                        int32_t hi) {
  const ec_device_context *context = &launch->state->context;
  const ec_call *call = launch->call;
  uint32_t count = call->pointer_count;
  if (call->workspace_bytes != 0) {
    pointers[count++] =
        context->workspaces + (size_t)(thread * context->workspace_stride_bytes);
  }
  if (launch->sized != NULL && launch->sized->size_count != 0) {
    pointers[count++] = launch->sizes;
  }
  ec_invoke(call->kernel, pointers, count, lo, hi);
}

/* Items [lo, hi) of a call whose items are repeated: the pointers advance with each time. */
static void repeat(const cpu_launch *launch, void **pointers, uint32_t thread, int32_t lo,
                   int32_t hi) {
  const ec_call *call = launch->call;
  const uint64_t *strides = launch->sized->strides;
  int32_t items = (int32_t)call->work_items;
  while (lo < hi) {
    int32_t repetition = lo / items;
    int32_t first = lo - repetition * items;
    int32_t count = hi - lo < items - first ? hi - lo : items - first;
    for (uint32_t i = 0; i < call->pointer_count; ++i) {
      pointers[i] = (uint8_t *)launch->pointers[i] + (size_t)strides[i] * (size_t)repetition;
    }
    call_kernel(launch, pointers, thread, first, first + count);
    lo += count;
  }
}

static void run_slice(void *opaque, uint32_t thread, int32_t lo, int32_t hi) {
  const cpu_launch *launch = opaque;
  const ec_call *call = launch->call;
  int32_t first = (int32_t)call->first_item; /* 0 where dynamic */
  if (launch->sized == NULL && call->workspace_bytes == 0) {
    ec_invoke(call->kernel, launch->pointers, call->pointer_count, first + lo, first + hi);
    return;
  }
  void *pointers[EC_MAX_INVOKE_POINTERS];
  if (launch->sized != NULL && launch->sized->strides != NULL) {
    repeat(launch, pointers, thread, lo, hi);
    return;
  }
  memcpy(pointers, launch->pointers, call->pointer_count * sizeof pointers[0]);
  call_kernel(launch, pointers, thread, first + lo, first + hi);
}

static ec_status cpu_launch_call(void *opaque, uint32_t index) {
  cpu_launch launch = launch_of(opaque, index);
  uint32_t grain = launch.call->grain_items != 0 ? launch.call->grain_items : 1;
  if (launch.items > 0) {
    ec_pool_run(launch.state->context.pool, launch.items, grain, run_slice, &launch);
  }
  return EC_OK;
}

/* Looks at a seam that another thread computes between two at which others may run. */
#define LOOKS_PER_YIELD 256u

/* What has become of a strip's seam. */
enum { SEAM_OPEN, SEAM_TAKEN, SEAM_DONE };

/* A group of strips while the pool shares them. */
typedef struct cpu_strips {
  cpu_state *state;
  uint32_t first;
  uint32_t end;
  bool is_short;
  uint32_t count;                            /* of strips */
  _Atomic uint32_t seams[EC_MAX_STRIPS + 1]; /* [strip] */
} cpu_strips;

static void run_whole(const cpu_strips *group, uint32_t call, uint32_t thread) {
  cpu_launch launch = launch_of(group->state, call);
  if (launch.items > 0) {
    run_slice(&launch, thread, 0, launch.items);
  }
}

/* Compute a strip's seam, or wait for the thread that does.
 *
 * The strip may be one that no thread has begun: then it is computed here, so that nobody
 * waits for a thread that does not come. */
static void need_seam(cpu_strips *group, uint32_t strip, uint32_t thread) {
  const ec_call *calls = group->state->context.model->calls;
  uint32_t state = SEAM_OPEN;
  if (!atomic_compare_exchange_strong(&group->seams[strip], &state, SEAM_TAKEN)) {
    for (uint32_t looks = 1; atomic_load(&group->seams[strip]) != SEAM_DONE; ++looks) {
      if (looks % LOOKS_PER_YIELD == 0) {
        ec_thread_yield();
      } else {
        ec_processor_relax();
      }
    }
    return;
  }
  for (uint32_t i = group->first; i < group->end; ++i) {
    if (calls[i].strip == strip && (calls[i].strip_flags & EC_STRIP_SEAM) != 0) {
      run_whole(group, i, thread);
    }
  }
  atomic_store(&group->seams[strip], SEAM_DONE);
}

static bool are_parts_of_one(const ec_call *one, const ec_call *other) {
  return one->kernel == other->kernel && one->pointer_count == other->pointer_count &&
         memcmp(one->tensors, other->tensors, one->pointer_count * sizeof one->tensors[0]) ==
             0;
}

/* Each call of the group once, with the items of all its parts; one of them has the first, and
 * seams may come before that. */
static void run_unparted(const cpu_strips *group, uint32_t thread) {
  const ec_call *calls = group->state->context.model->calls;
  for (uint32_t i = group->first; i < group->end; ++i) {
    if (calls[i].first_item != 0) {
      continue;
    }
    cpu_launch launch = launch_of(group->state, i);
    for (uint32_t j = group->first; j < group->end; ++j) {
      int32_t end = (int32_t)(calls[j].first_item + calls[j].work_items);
      if (end > launch.items && are_parts_of_one(&calls[i], &calls[j])) {
        launch.items = end;
      }
    }
    run_slice(&launch, thread, 0, launch.items);
  }
}

/* Strips [lo + 1, hi + 1). Only the first one's seam is another thread's concern. */
static void run_strips(void *opaque, uint32_t thread, int32_t lo, int32_t hi) {
  cpu_strips *group = opaque;
  const ec_call *calls = group->state->context.model->calls;
  uint32_t top = (uint32_t)lo + 1;
  uint32_t bottom = (uint32_t)hi;
  if (top == 1 && bottom == group->count && group->is_short) {
    run_unparted(group, thread);
    return;
  }
  if (top > 1) {
    need_seam(group, top, thread);
  }
  for (uint32_t i = group->first; i < group->end; ++i) {
    uint32_t strip = calls[i].strip;
    uint32_t flags = calls[i].strip_flags;
    if (strip < top || strip > bottom || (strip == top && (flags & EC_STRIP_SEAM) != 0)) {
      continue;
    }
    if ((flags & EC_STRIP_MEETS) != 0 && strip == bottom && strip < group->count) {
      need_seam(group, strip + 1, thread);
    }
    run_whole(group, i, thread);
  }
}

static ec_status cpu_launch_strips(void *opaque, uint32_t first, uint32_t end) {
  cpu_state *state = opaque;
  cpu_strips group = {
      .state = state,
      .first = first,
      .end = end,
      .count = state->context.model->calls[end - 1].strip,
      .is_short = (state->context.model->calls[first].strip_flags & EC_STRIP_SHORT) != 0 &&
                  state->context.model->dynamic == NULL,
  };
  for (uint32_t strip = 0; strip <= EC_MAX_STRIPS; ++strip) {
    atomic_init(&group.seams[strip], SEAM_OPEN);
  }
  ec_pool_run(state->context.pool, (int32_t)group.count, 1, run_strips, &group);
  return EC_OK;
}

static ec_status cpu_sync(void *state) {
  (void)state; /* ec_pool_run returns when all is done */
  return EC_OK;
}

static ec_status cpu_profile(void *state, uint32_t call, uint64_t *out_ns) {
  uint64_t start_ns = ec_clock_ns();
  ec_status status = cpu_launch_call(state, call);
  *out_ns = ec_clock_ns() - start_ns;
  return status;
}

static void cpu_close(void *state) { (void)state; }

const ec_device_backend ec_device_cpu = {
    .name = "cpu",
    .probe = cpu_probe,
    .state_bytes = cpu_state_bytes,
    .open = cpu_open,
    .prepare = cpu_prepare,
    .launch = cpu_launch_call,
    .launch_strips = cpu_launch_strips,
    .sync = cpu_sync,
    .profile = cpu_profile,
    .close = cpu_close,
};
