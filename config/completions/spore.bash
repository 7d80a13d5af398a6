# bash completion for spore(1). All that it offers comes from the command itself.
_spore() {
  local line word
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :files) compopt -o default ;;
      :words) ;;
      *) word=${line%%$'\t'*} && COMPREPLY+=("$(printf '%q' "$word")") ;;
    esac
  done < <(spore __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _spore spore
