#!/usr/bin/env bash
# The whole chain at full size on one GPU of 80 GB: Llama-2-7b-chat as in the paper. See laptop.sh for the steps.
#   training/gpu.sh                                 MODEL=Qwen/Qwen2.5-7B-Instruct SFT=sft-qwen.yaml training/gpu.sh
# Plan and memory first, without any weights: the commands of sft and refine with --dry-run. On several GPUs put
#   accelerate launch --config_file training/configs/accelerate-fsdp.yaml --num_processes 4 training/sft.py
# in the place of `reclm sft`, with the recipe sft-llama-2-7b-fsdp.yaml.
# Drawing replies and profiles dominates: profiles can be written by a server instead (vLLM, see --base-url).
set -euo pipefail

DATA="${DATA:-movietweetings-100k-u10}"
RUN="${RUN:-runs/gpu}"
CUT="${CUT:-validation}"
MODEL="${MODEL:-meta-llama/Llama-2-7b-chat-hf}"
SFT="${SFT:-sft-llama-2-7b.yaml}"
TOKENS="${TOKENS:-1536}"
EPISODES="${EPISODES:-2048}"
BACKBONE="${BACKBONE:-lightgcn}"
CONFIGS="$(dirname "$0")/configs"

# 1. Dialogues and tuning.
reclm instructions build "$DATA" --cut "$CUT" --model "$MODEL" --max-tokens "$TOKENS" --output "$RUN/instructions"
reclm sft --config "$CONFIGS/$SFT" --model "$MODEL" --instructions "$RUN/instructions" --output "$RUN/sft"

# 2. The reward model.
reclm preferences build "$DATA" --cut "$CUT" --pairs-per-user 2 --form dialogue --tokenizer "$MODEL" --max-tokens "$TOKENS" --output "$RUN/preferences"
reclm reward --config "$CONFIGS/reward.yaml" --model "$MODEL" --dtype bfloat16 --gradient-checkpointing --max-tokens "$TOKENS" --preferences "$RUN/preferences" --output "$RUN/reward"

# 3. PPO, and RLOO on the reward that needs no labels, both from the tuned model.
reclm refine --config "$CONFIGS/refine-ppo.yaml" --model "$RUN/sft" --dtype bfloat16 --gradient-checkpointing --max-prompt-tokens "$TOKENS" --episodes "$EPISODES" --rollout-batch-size 32 --reward-model "$RUN/reward" --preferences "$RUN/preferences" --data "$DATA" --cut "$CUT" --output "$RUN/ppo"
reclm refine --config "$CONFIGS/refine-rloo.yaml" --model "$RUN/sft" --dtype bfloat16 --gradient-checkpointing --max-prompt-tokens "$TOKENS" --episodes "$EPISODES" --preferences "$RUN/preferences" --data "$DATA" --cut "$CUT" --output "$RUN/rloo"

# 4. Profiles of all users and what they bring, for each.
for stage in sft ppo rloo; do
    reclm profiles build "$DATA" --sides user --model "$RUN/$stage" --output "$RUN/profiles-$stage"
    reclm train "$DATA" --backbone "$BACKBONE" --profile-mode llm --profiles "$RUN/profiles-$stage" --name "$BACKBONE-$stage"
done
reclm train "$DATA" --backbone "$BACKBONE"
