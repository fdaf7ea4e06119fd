#!/usr/bin/env bash
# The whole chain on two processor cores, with a small model: instructions -> sft -> preferences -> reward -> refine ->
# profiles -> recommender. Every step goes on from what is finished when it is run again.
#   training/laptop.sh                              RUN=runs/other DATA=ml-folder training/laptop.sh
# With the numbers of the recipes it takes about half a day: half an hour for sft, one for the reward model, two for
# PPO (a minute an update), the rest for writing profiles. Smaller: set max_rows and episodes in the recipes.
set -euo pipefail

DATA="${DATA:-movietweetings-100k-u10}"
RUN="${RUN:-runs/laptop}"
CUT="${CUT:-validation}"
MODEL="${MODEL:-HuggingFaceTB/SmolLM2-135M-Instruct}"
TOKENS="${TOKENS:-768}"
BACKBONE="${BACKBONE:-lightgcn}"
CONFIGS="$(dirname "$0")/configs"

# 1. Two-turn dialogues from profiles as of the cut; both replies are learnt.
reclm instructions build "$DATA" --cut "$CUT" --model "$MODEL" --max-tokens "$TOKENS" --output "$RUN/instructions"
reclm sft --config "$CONFIGS/sft-smollm2-135m.yaml" --model "$MODEL" --instructions "$RUN/instructions" --output "$RUN/sft"

# 2. A reward model from better and worse profiles.
reclm preferences build "$DATA" --cut "$CUT" --form dialogue --tokenizer "$MODEL" --max-tokens "$TOKENS" --output "$RUN/preferences"
reclm reward --config "$CONFIGS/reward.yaml" --model "$MODEL" --preferences "$RUN/preferences" --output "$RUN/reward"

# 3. The policy gradient, from the tuned model and near to it.
reclm refine --config "$CONFIGS/refine-ppo.yaml" --model "$RUN/sft" --reward-model "$RUN/reward" --preferences "$RUN/preferences" --data "$DATA" --cut "$CUT" --output "$RUN/refined"

# 4. Profiles of all users by the refined model, as of both cuts, and a recommender with and without them.
reclm profiles build "$DATA" --sides user --model "$RUN/refined" --output "$RUN/profiles"
reclm train "$DATA" --backbone "$BACKBONE"
reclm train "$DATA" --backbone "$BACKBONE" --profile-mode llm --profiles "$RUN/profiles"
