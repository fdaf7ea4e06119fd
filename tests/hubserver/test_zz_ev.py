from huggingface_hub import HfApi
def test_ev(hub):
    import sys
    assert 'evaluate' not in sys.modules
    import evaluate
    api=HfApi(); r=api.create_repo('half',repo_type='space',space_sdk='static').repo_id
    code=b'''import datasets
import evaluate


class Half(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(description="", citation="", features=datasets.Features({"predictions": datasets.Value("float"), "references": datasets.Value("float")}))

    def _compute(self, predictions, references):
        return {"half": sum(predictions) / 2}
'''
    api.upload_file(path_or_fileobj=code,path_in_repo='half.py',repo_id=r,repo_type='space')
    m=evaluate.load(r)
    assert m.compute(predictions=[1.,2.],references=[1.,2.])=={'half':1.5}
    print([ (x.method,x.path,x.status) for x in hub.requests])
    assert evaluate.config.HF_ENDPOINT==hub.endpoint==evaluate.inspect.inspect.HF_ENDPOINT if hasattr(evaluate.inspect,'inspect') else True
    global E; E=hub.endpoint, str(hub.cache)
def test_after():
    from tests.hubserver.libraries import library_modules
    from pathlib import Path
    left=[f"{n}.{v}={x!r}" for n,m in library_modules().items() for v,x in list(vars(m).items()) if isinstance(x,(str,Path,frozenset,dict,list)) and any(t in str(x) for t in E)]
    assert left==[]
    import evaluate, huggingface_hub
    assert evaluate.config.HF_ENDPOINT=='https://huggingface.co' and huggingface_hub.constants.HF_HUB_OFFLINE
